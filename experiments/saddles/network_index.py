"""How many directions lead down at the critical points of a network's loss?

What the lecture says: saddles are "going to happen almost everywhere"; at a local minimum "every one" of the directions
"causes the loss to go up".

What is true: it depends on the height. The index, the share of directions that curve downwards, rises with the loss:
critical points high up are saddles of many directions, the lowest are minima. Along a run it falls from near a half
at the start to zero, once the run has come to rest.

Two things go wrong in such measurements, and both are counted here. A search for small gradients also ends at
gradient-flat points, where the gradient lies along directions without curvature and no critical point is near: a point
is accepted only if |g| < 1e-8 and a full Newton step moves it by less than 1e-5. And a spectrum from few products
does not tell a share exactly: each point has the bracket of `curvature.index`, held against all eigenvalues.

Source: Dauphin et al. 2014, arXiv 1406.2572, for the index and the loss; Frye et al. 2021, Neural Computation 33, for
gradient-flat points.
"""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxopt_lab import curvature, networks, rules, training
from jaxopt_lab.core import Problem, Verdict, from_loss, vectors
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main, measures
from jaxopt_lab.studies.fields import Between, Count, Positive, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, at_least, at_most

FLAT = 1e-3  # FLAT times the largest |eigenvalue| counts as no curvature
DAUPHIN = "Dauphin et al. 2014, arXiv 1406.2572"
FRYE = "Frye et al. 2021, Neural Computation 33"


@configclass
class Config:
    """All that can change a number. Squared error of a tanh network on targets of a random network plus noise."""

    num_inputs: Count = 4
    """Inputs, a count."""
    width: Count = 5
    """Hidden units, a count."""
    num_outputs: Count = 3
    """Outputs, a count."""
    num_examples: Annotated[int, Whole(2)] = 100
    """Examples, a count."""
    weight_decay: Annotated[float, Between("[0, 1)")] = 0.01
    """The loss has weight_decay / 2 |w|^2, in units of the loss; without it dead units leave flat directions."""
    learning_rate: Positive = 0.1
    """Of the runs of gradient descent, in units of 1 / curvature."""
    steps: Annotated[int, Whole(10)] = 10_000
    """Of each run."""
    num_runs: Count = 3
    """Runs of gradient descent from different initializations, a count."""
    num_searches: Annotated[int, Whole(2)] = 24
    """Searches for critical points from points of the runs, and as many from random points, a count."""
    iterations: Count = 250
    """Damped Newton steps of a search, a count."""
    num_path_points: Annotated[int, Whole(2)] = 7
    """Points of each run at which the index is taken, a count."""
    num_probes: Annotated[int, Whole(2)] = 8
    """Random vectors of each bracket, a count."""
    num_products: Annotated[int, Whole(2)] = 20
    """Hessian products for each of them, a count."""
    seed: Seed = 0
    """Seeds data, initializations and searches."""


PRESETS = {
    "quick": Config(),
    "full": Config(num_inputs=6, width=10, num_runs=8, num_searches=120, iterations=600, num_probes=16),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a point of a run, then one an end of a search; both with all eigenvalues' index and its bracket."""
    problem = _make_problem(config)
    trace = training.run(
        problem, rules.sgd, {"learning_rate": config.learning_rate}, steps=config.steps,
        seeds=config.seed + np.arange(config.num_runs), probes=[training.Probe("params", lambda seen: seen.params)],
    )  # fmt: skip
    times = np.unique(np.append(0, np.geomspace(1, config.steps, config.num_path_points - 1).astype(int)))
    known, paths = {"kind": "run", "learning_rate": config.learning_rate}, enumerate(trace["params"])
    runs: list[Row] = [known | {"run": place, "step": int(step)} | _point(problem, params[step])
                       for place, params in paths for step in times]  # fmt: skip
    spread = np.geomspace(1, config.steps, -(-config.num_searches // config.num_runs)).astype(int)
    on_runs = trace["params"][:, spread].reshape(-1, trace["params"].shape[-1])
    starts = np.concatenate([on_runs, np.random.default_rng(config.seed).standard_normal(on_runs.shape)])
    found = curvature.find_critical_points(problem, starts, iterations=config.iterations)
    ends = [{"kind": "search"} | _point(problem, end) for end in found]
    for row in [*_critical(Rows(ends)), *runs]:
        row |= _bracket(config, problem, row["params"])
    return [*runs, *ends]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Index and loss at critical points, the lowest of them, the index along the runs, the brackets."""
    found, runs, seen = _critical(rows), rows.by("run").values(), rows.having("low")
    lost = rows.where(kind="search", outcome=lambda outcome: outcome != "accepted")["outcome"] == "gradient-flat"
    return [
        # An index that does not depend on the loss has a rank correlation whose interval holds 0.
        at_least(f"The index of critical points grows with the loss, over {len(found)} distinct ones",
                 "lower end of the 95 % interval of the rank correlation", 0.0, _correlation(found)[1],
                 reference=DAUPHIN),
        absolute("The lowest critical point that was found is a minimum", f"index at loss {found[0]['loss']:.4f}", 0.0,
                 found[0]["index"], reference=DAUPHIN),
        at_most("Along every run the index falls to less than half of what it is at the start",
                f"index at the end over that at the start, largest of {len(runs)} runs", 0.5,
                max(run[-1]["index"] / run[0]["index"] for run in runs), reference=DAUPHIN),
        at_least("Most searches that miss end at gradient-flat points",
                 f"share of {len(lost)} rejected ends whose gradient lies along directions without curvature", 0.5,
                 float(np.mean(lost)), reference=FRYE),
        at_least("The brackets of the index hold the share that all eigenvalues give", f"share of {len(seen)} points",
                 0.95, np.mean([row["low"] <= row["index"] <= row["high"] for row in seen]),
                 reference="Golub and Meurant 2010"),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Index against loss: critical points as dots, runs as lines, brackets as bars."""
    figure, axes = maker.axes(height=4.8)
    for place, run in rows.by("run").items():
        axes.plot(run["loss"], run["index"], color=maker.color(1), linewidth=1.3, label="" if place else "along runs")
    found = _critical(rows)
    axes.vlines(found["loss"], found["low"], found["high"], color=maker.color(4), alpha=0.55, linewidth=1.2,
                label="bracket")  # fmt: skip
    maker.measured(axes, found["loss"], found["index"], markersize=7)
    axes.plot([], [], "o", color=maker.color(0), label="critical points")
    axes.set_xscale("log")
    axes.set_xticks([0.1, 0.2, 0.5, 1, 2, 5, 10], ["0.1", "0.2", "0.5", "1", "2", "5", "10"])
    axes.set_xticks([], minor=True)
    axes.set(title="Critical points: the higher, the more ways down", xlabel="loss",
             ylabel="share of negative eigenvalues",
             xlim=(0.9 * found[0]["loss"], 1.1 * max(rows.where(kind="run")["loss"])))  # fmt: skip
    axes.legend(loc="upper left")
    return figure


def caption(config: Config, rows: Rows) -> str:
    found, ends, resolved = _critical(rows), rows.where(kind="search")["outcome"], rows.having("resolved")["resolved"]
    value, low, high = _correlation(found)
    first, last = (np.mean([run[place]["index"] for run in rows.by("run").values()]) for place in (0, -1))
    flat, degenerate, unfinished = (sum(ends == name) for name in ("gradient-flat", "degenerate", "unfinished"))
    return (
        f"The index of {len(found)} critical points grows with the loss (rank correlation {value:.2f}, 95 % interval"
        f" {low:.2f} to {high:.2f}) from {found[0]['index']:.2f} to {max(found['index']):.2f}, and falls"
        f" along training from {first:.2f} to {last:.2f}; of {len(ends)} searches {sum(ends != 'accepted')} ended"
        f" at no critical point ({flat} gradient-flat, {degenerate} degenerate, {unfinished} unfinished), and"
        f" {len(resolved) - sum(resolved)} of {len(resolved)} brackets cannot tell the index to 0.1."
    )


def _make_problem(config: Config) -> Problem:
    """The network's loss as a function of one vector."""
    random = np.random.default_rng(config.seed)
    inputs = random.standard_normal((config.num_examples, config.num_inputs))
    first, second = random.standard_normal((config.num_inputs, 8)), random.standard_normal((8, config.num_outputs))
    targets = np.tanh(inputs @ first) @ second / 2 + 0.3 * random.standard_normal((len(inputs), config.num_outputs))
    sizes = {"num_inputs": config.num_inputs, "num_outputs": config.num_outputs, "width": config.width, "depth": 1}
    network = networks.from_nnx(
        lambda rngs: networks.MLP(**sizes, activation="tanh", initializer="xavier_normal", rngs=rngs),
        data=(jnp.asarray(inputs), jnp.asarray(targets)),
        criterion=lambda outputs, batch: networks.criteria.CRITERIA["squared"](outputs, batch[1]),
    )
    _, unravel = ravel_pytree(network.init(jax.random.key(0)))

    def loss(point: jax.Array, batch: Any, key: Any) -> jax.Array:
        return network.loss(unravel(point), batch, key) + config.weight_decay / 2 * vectors.sum_of_squares(point)

    return from_loss(loss, lambda key: ravel_pytree(network.init(key))[0], network.data, name="tanh network")


def _point(problem: Problem, point: np.ndarray) -> Row:
    """The loss and the index of a point, and whether it is critical; if not, what it is instead."""
    found = curvature.examine_point(problem, point, flat=FLAT)
    index = float(np.mean(found.eigenvalues < -FLAT * np.abs(found.eigenvalues).max()))
    return {"params": point, "loss": found.loss, "gradient_norm": found.gradient_norm, "outcome": found.outcome,
            "index": index}  # fmt: skip


def _bracket(config: Config, problem: Problem, point: np.ndarray) -> Row:
    """The bracket of the index from Hessian products."""
    found = curvature.index(curvature.hessian(problem, jnp.asarray(point)), FLAT, num_probes=config.num_probes,
                            num_steps=config.num_products, key=jax.random.key(config.seed))  # fmt: skip
    assert found.negative.interval is not None
    return {"low": found.negative.interval[0], "high": found.negative.interval[1], "resolved": found.resolved}


def _critical(rows: Rows) -> Rows:
    """The critical points found, by increasing loss, one of each set of mirror images: these have equal losses."""
    return rows.where(kind="search", outcome="accepted").distinct("loss", 1e-9)


def _correlation(found: Rows) -> tuple[float, float, float]:
    """The rank correlation of index and loss, and its 95 % interval."""
    value = measures.rank_correlation(found["loss"], found["index"])
    assert value.interval is not None
    return value.value, *value.interval


if __name__ == "__main__":
    raise SystemExit(main())
