"""Which hyperparameter decides how a run ends?

What the lecture says: the "learning rate is the really important one"; of the others, in a block coordinate search, it
is "typically less of a problem".

What is true: on a perceptron on digits, trained for a fixed number of steps with five hyperparameters drawn at once
from wide ranges. Each one's share of the variance of the final loss is

    S_i = Var(E[loss | i]) / Var(loss),

its main effect (functional analysis of variance, first-order Sobol index). A share is one of the ranges it is drawn
from: another space has other shares. The lecture is right about the first place, with 21 % against 6 % for the next,
and needs a correction about the rest: the main effects together explain a third, and what learning rate and momentum
explain as a pair is twice what the rate does alone. lr / (1 - rho), one number, explains 61 %: it is the important one,
and the rate is the one that can least be tuned on its own. A loss above that of the best constant output, ln 10, counts
as ln 10: how far a run has diverged says nothing. (In the logarithm of the loss, in which the good runs count for more,
the batch size explains as much as the rate, a tenth each, and lr / (1 - rho) 43 %.)

Points are random, not Sobol's: what chance puts between bins is taken off, and is known for independent points only.

Source: Hutter, Hoos and Leyton-Brown, An efficient approach for assessing hyperparameter importance, ICML 2014; Sobol,
Sensitivity estimates for nonlinear mathematical models, 1993.
"""

import itertools
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab import problems, rules, search, training
from jaxopt_lab.core import Verdict, require_between, require_count
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Count, Must, OpenUnit, Seed, Whole, configclass
from jaxopt_lab.studies.measures import bootstrap_error, equal_bins, explained_share
from jaxopt_lab.studies.verdicts import at_least

LECTURE = "CS231n 2017, lecture 7"
SHALLUE = "Shallue et al. 2019, section 4.7"
RESAMPLES = 200
CONSTANT = float(np.log(10))
NAMES = {
    "learning_rate": "learning rate", "rho": "momentum", "batch_size": "batch size", "weight_decay": "weight decay",
    "gain": "initial gain",
}  # fmt: skip
Range = Annotated[
    tuple[float, float], Must("be two positive numbers that increase", lambda ends: 0 < ends[0] < ends[1])
]
SEVERAL = Must("hold at least two", lambda sizes: len(sizes) > 1)


@configclass
class Config:
    """All that can change a number."""

    learning_rates: Range = (1e-3, 1.0)
    """Range of the learning rate, log-uniform."""
    largest_rho: OpenUnit = 0.99
    """Momentum is drawn from 0 to here, 1 - rho log-uniform."""
    batch_sizes: Annotated[tuple[Count, ...], SEVERAL] = (8, 32, 64)
    """Batch sizes, examples, each equally likely."""
    weight_decays: Range = (1e-6, 1e-2)
    """Range of the weight decay that is added to the gradient, log-uniform."""
    gains: Range = (0.3, 3.0)
    """Range of the factor on the initial weights (He normal), log-uniform."""
    width: Count = 16
    """Units in each of the two hidden layers (ReLU; pixels standardized)."""
    num_examples: Count = 1000
    """Images of digits that it is trained on, and on which the final loss is taken."""
    steps: Annotated[int, Whole(2)] = 200
    """Length of a run, steps."""
    num_trials: int = 640
    """Runs, each with hyperparameters and a seed of its own (random points)."""
    num_bins: Annotated[int, Whole(3)] = 8
    """Bins of a range, equally full, over which the loss is averaged."""
    seed: Seed = 0
    """Seeds the points and the first of the runs."""

    def __post_init__(self) -> None:
        where, once = "learning_rate_matters_most", "They are drawn without replacement."
        require_between(where, "batch_sizes", max(self.batch_sizes), 1, self.num_examples, why=once)
        require_count(where, "num_trials", self.num_trials, 2 * self.num_bins**2, "Each pair of bins needs runs.")


PRESETS = {
    "quick": Config(),
    "full": Config(num_trials=4096, steps=1000),
    "huge": Config(num_trials=32_768, steps=1000, num_bins=16),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row with all runs; one a hyperparameter with its share; one a pair with what it adds."""
    space = search.Space(
        learning_rate=search.log_uniform(*config.learning_rates),
        rho=search.one_minus_log_uniform(0.0, config.largest_rho), batch_size=search.choices(*config.batch_sizes),
        weight_decay=search.log_uniform(*config.weight_decays), gain=search.log_uniform(*config.gains),
    )  # fmt: skip
    columns = space.columns(search.random_points(space, config.num_trials, config.seed))
    losses, effective = _final_losses(config, columns), columns["learning_rate"] / (1 - columns["rho"])
    groups = {name: equal_bins(column, config.num_bins) for name, column in columns.items()}
    groups["batch_size"] = np.searchsorted(
        np.array(sorted(config.batch_sizes)), columns["batch_size"]
    )  # each by itself
    # One rate for each run and its rho: [runs, 1].
    rates = {"learning_rate": columns["learning_rate"][:, None], "effective_rate": effective[:, None]}
    rows: list[Row] = [
        {"kind": "runs", "loss": losses, "diverged": float(np.mean(losses >= CONSTANT))} | columns | rates
    ]
    for name, group in (groups | {"effective_rate": equal_bins(effective, config.num_bins)}).items():
        rows.append({"kind": "share", "name": name, "log_share": explained_share(group, np.log(losses))}
                    | _share(config, losses, group))  # fmt: skip
    for first, second in itertools.combinations(groups, 2):
        together = groups[first] * (groups[second].max() + 1) + groups[second]
        rows.append({"kind": "pair", "name": f"{NAMES[first]}, {NAMES[second]}", "first": first, "second": second}
                    | _share(config, losses, together, groups[first], groups[second]))  # fmt: skip
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The learning rate has the largest share, of main effects and in pairs; the effective rate has a larger one."""
    rate, effective = rows.only(name="learning_rate"), rows.only(name="effective_rate")
    others = rows.where(kind="share", name=lambda name: name not in ("learning_rate", "effective_rate"))
    second, pairs = max(others, key=lambda row: row["share"]), rows.where(kind="pair")
    return [
        # Four standard errors, from runs drawn again.
        at_least("The learning rate explains more of the final loss than any other hyperparameter",
                 f"its share of the variance less four standard errors, against that of {NAMES[second['name']]}",
                 second["share"], rate["share"] - 4 * float(np.hypot(rate["error"], second["error"])),
                 unit="of the variance", reference=LECTURE),
        at_least("It explains more than all the others together", "its share of the variance",
                 sum(row["share"] for row in others), rate["share"], unit="of the variance", reference=LECTURE),
        at_least("The pair that interacts most is learning rate and momentum",
                 "share of this pair beyond main effects, against the largest", max(row["share"] for row in pairs),
                 pairs.only(first="learning_rate", second="rho")["share"], unit="of the variance", reference=SHALLUE),
        at_least("lr / (1 - rho) explains more than the learning rate does",
                 "its share of the variance less four standard errors", rate["share"],
                 effective["share"] - 4 * float(np.hypot(effective["error"], rate["error"])), unit="of the variance",
                 reference=SHALLUE),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Above: the shares as bars with four standard errors. Below: every run's loss against its effective rate."""
    figure, (above, below) = maker.axes(2, height=7.0)
    shares = rows.where(kind="share", name=lambda name: name in NAMES)
    bars = Rows([*sorted(shares, key=lambda row: row["share"]), rows.only(name="effective_rate")])
    above.barh([NAMES.get(row["name"], "lr / (1 - rho)") for row in bars], bars["share"], xerr=4 * bars["error"],
               color=[maker.color(row["name"] == "effective_rate") for row in bars], ecolor=maker.color(6))  # fmt: skip
    above.set(xlim=(min(0.0, *bars["share"]), 1), xlabel="share of the variance of the final loss",
              title="The learning rate first; with momentum in it, more")  # fmt: skip
    above.grid(axis="y", visible=False)
    runs = rows.only(kind="runs")
    maker.measured(below, np.ravel(runs["effective_rate"]), runs["loss"], color=1, markersize=3)
    below.axhline(CONSTANT, color=maker.color(6), linewidth=1)
    below.set(xscale="log", ylim=(0, None), xlabel="learning rate / (1 - rho)", ylabel=f"loss, {config.steps} steps",
              title=f"Above the line a run counts as diverged: {runs['diverged']:.0%}")  # fmt: skip
    return figure


def caption(config: Config, rows: Rows) -> str:
    shares = {row["name"]: row["share"] for row in rows.where(kind="share")}
    others = sorted((name for name in NAMES if name != "learning_rate"), key=lambda name: -shares[name])
    listed = ", ".join(f"{NAMES[name]} {max(shares[name], 0.0):.0%}" for name in others)
    return (
        f"Of the variance of the final loss the learning rate explains {shares['learning_rate']:.0%}, {listed};"
        f" lr / (1 - rho) alone explains {shares['effective_rate']:.0%}."
    )


class _Started(NamedTuple):
    count: jax.Array
    inner: Any


def _rule(learning_rate: Any, rho: Any, weight_decay: Any, gain: Any) -> optax.GradientTransformationExtraArgs:
    """Heavy ball with weight decay; its first step only multiplies the parameters by the gain.

    So the gain is a hyperparameter like the others, of one compiled program. Biases start at 0.
    """
    inner = optax.chain(optax.add_decayed_weights(weight_decay), rules.heavy_ball(learning_rate, rho))

    def init(params: Any) -> _Started:
        return _Started(jnp.zeros((), jnp.int32), inner.init(params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, _Started]:
        moved, after = inner.update(updates, state.inner, params)
        scaled = jax.tree.map(lambda leaf: (gain - 1) * leaf, params)
        first = state.count == 0
        chosen = jax.tree.map(lambda a, b: jnp.where(first, a, b), (scaled, state.inner), (moved, after))
        return chosen[0], _Started(state.count + 1, chosen[1])

    return optax.GradientTransformationExtraArgs(init, update)


def _final_losses(config: Config, columns: dict[str, np.ndarray]) -> np.ndarray:
    """The loss over all examples after the steps, one program a batch size; that of a constant if it is larger."""
    problem = problems.load_problem("digits-mlp", width=config.width, activation="relu", fraction=1.0,
                                    num_examples=config.num_examples, dtype="float32")  # fmt: skip
    losses = np.empty(config.num_trials)
    for size in config.batch_sizes:
        members = np.flatnonzero(columns["batch_size"] == size)
        hyper = {name: column[members] for name, column in columns.items() if name != "batch_size"}
        trace = training.run(
            problem, _rule, hyper, steps=config.steps + 1, every=config.steps + 1, batch_size=int(size),
            seeds=config.seed + members, feasibility=training.Feasibility(baseline=CONSTANT),
        )  # fmt: skip
        losses[members] = trace["loss"][:, -1]
    return np.fmin(np.where(np.isfinite(losses), losses, CONSTANT), CONSTANT)


def _share(config: Config, losses: np.ndarray, group: np.ndarray, *alone: np.ndarray) -> dict[str, float]:
    """What a group explains beyond those alone, with its error from runs drawn again."""

    def beyond(chosen: Any) -> float:
        own = sum(explained_share(each[chosen], losses[chosen]) for each in alone)
        return explained_share(group[chosen], losses[chosen]) - own

    error = bootstrap_error(beyond, config.num_trials, seed=config.seed, num_resamples=RESAMPLES)
    return {"share": beyond(slice(None)), "error": error}


if __name__ == "__main__":
    raise SystemExit(main())
