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

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab import problems, rules, search, training
from jaxopt_lab.core import Verdict, fail, require_between, require_count
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main
from jaxopt_lab.studies.fields import OpenUnit, Seed, configclass
from jaxopt_lab.studies.verdicts import at_least

HUTTER = "Hutter, Hoos and Leyton-Brown, ICML 2014"
LECTURE = "CS231n 2017, lecture 7"
SHALLUE = "Shallue et al. 2019, section 4.7"
RESAMPLES = 200
CONSTANT = float(np.log(10))
NAMES = {
    "learning_rate": "learning rate", "rho": "momentum", "batch_size": "batch size", "weight_decay": "weight decay",
    "gain": "initial gain",
}  # fmt: skip


@configclass
class Config:
    """All that can change a number."""

    learning_rates: tuple[float, float] = (1e-3, 1.0)
    """Range of the learning rate, log-uniform."""
    largest_rho: OpenUnit = 0.99
    """Momentum is drawn from 0 to here, 1 - rho log-uniform."""
    batch_sizes: tuple[int, ...] = (8, 32, 64)
    """Batch sizes, examples, each equally likely."""
    weight_decays: tuple[float, float] = (1e-6, 1e-2)
    """Range of the weight decay that is added to the gradient, log-uniform."""
    gains: tuple[float, float] = (0.3, 3.0)
    """Range of the factor on the initial weights (He normal), log-uniform."""
    width: int = 16
    """Units in each of the two hidden layers (ReLU; pixels standardized)."""
    num_examples: int = 1000
    """Images of digits that it is trained on, and on which the final loss is taken."""
    steps: int = 200
    """Length of a run, steps."""
    trials: int = 640
    """Runs, each with hyperparameters and a seed of its own (random points)."""
    num_bins: int = 8
    """Bins of a range, equally full, over which the loss is averaged."""
    seed: Seed = 0
    """Seeds the points and the first of the runs."""

    def __post_init__(self) -> None:
        where = "learning_rate_matters_most"
        for name in ("learning_rates", "weight_decays", "gains"):
            low, high = getattr(self, name)
            if not 0 < low < high:
                raise fail(where, f"{name} must be two positive numbers that increase, got {low} and {high}")
        for name, least in (("width", 1), ("num_examples", 1), ("steps", 2), ("num_bins", 3)):
            require_count(where, name, getattr(self, name), least)
        if len(self.batch_sizes) < 2:
            raise fail(where, f"batch_sizes must hold at least two, got {self.batch_sizes}")
        for size in self.batch_sizes:
            require_count(where, "batch_sizes", size)
            require_between(where, "batch_sizes", size, 1, self.num_examples, why="They are drawn without replacement.")
        why = "Each pair of bins needs runs."
        require_count(where, "trials", self.trials, 2 * self.num_bins**2, why)


PRESETS = {
    "quick": Config(),
    "full": Config(trials=4096, steps=1000),
    "huge": Config(trials=32_768, steps=1000, num_bins=16),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row with all runs; one a hyperparameter with its share; one a pair with what it adds."""
    columns = _space(config).columns(search.random_points(_space(config), config.trials, config.seed))
    losses = _final_losses(config, columns)
    groups = {name: _groups(config, name, column) for name, column in columns.items()}
    effective = columns["learning_rate"] / (1 - columns["rho"])
    rate_and_momentum = {**groups, "effective_rate": _binned(effective, config.num_bins)}
    picked = np.random.default_rng(config.seed).integers(0, config.trials, (RESAMPLES, config.trials))
    # One rate for each run and its rho: [runs, 1].
    rates = {"learning_rate": columns["learning_rate"][:, None], "effective_rate": effective[:, None]}
    diverged = float(np.mean(losses >= CONSTANT))
    rows: list[dict[str, Any]] = [{"kind": "runs", "loss": losses, "diverged": diverged, **columns, **rates}]
    for name, group in rate_and_momentum.items():
        again = [explained_share(group[chosen], losses[chosen]) for chosen in picked]
        rows.append(
            {
                "kind": "share", "name": name, "share": explained_share(group, losses), "error": float(np.std(again)),
                "log_share": explained_share(group, np.log(losses)),
            }
        )  # fmt: skip
    names = list(groups)
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            rows.append({"kind": "pair", "name": f"{NAMES[first]}, {NAMES[second]}", "first": first, "second": second}
                        | _pair(groups[first], groups[second], losses, picked))  # fmt: skip
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The learning rate has the largest share, of main effects and in pairs; the effective rate has a larger one."""
    shares = {row["name"]: row for row in rows if row["kind"] == "share"}
    effective = shares.pop("effective_rate")
    rate = shares.pop("learning_rate")
    second = max(shares.values(), key=lambda row: row["share"])
    pairs = rows.where(kind="pair")
    coupled = max(pairs, key=lambda row: row["share"])
    apart = 4 * float(np.hypot(rate["error"], second["error"]))
    return [
        # Four standard errors, from runs drawn again.
        at_least("The learning rate explains more of the final loss than any other hyperparameter",
                 f"its share of the variance less four standard errors, against that of {NAMES[second['name']]}",
                 second["share"], rate["share"] - apart, unit="of the variance", reference=LECTURE),
        at_least("It explains more than all the others together", "its share of the variance",
                 sum(row["share"] for row in shares.values()), rate["share"], unit="of the variance",
                 reference=LECTURE),
        at_least("The pair that interacts most is learning rate and momentum",
                 "share of this pair beyond main effects, against the largest", coupled["share"],
                 next(row["share"] for row in pairs if (row["first"], row["second"]) == ("learning_rate", "rho")),
                 unit="of the variance", reference=SHALLUE),
        at_least("lr / (1 - rho) explains more than the learning rate does",
                 "its share of the variance less four standard errors", rate["share"],
                 effective["share"] - 4 * float(np.hypot(effective["error"], rate["error"])), unit="of the variance",
                 reference=SHALLUE),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Above: the shares as bars with four standard errors. Below: every run's loss against its effective rate."""
    figure, (above, below) = maker.axes(2, height=7.0)
    shares = rows.where(kind="share")
    main_effects = sorted((row for row in shares if row["name"] in NAMES), key=lambda row: row["share"])
    bars = [*main_effects, next(row for row in shares if row["name"] == "effective_rate")]
    labels = [NAMES.get(row["name"], "lr / (1 - rho)") for row in bars]
    colors = [maker.color(1 if row["name"] == "effective_rate" else 0) for row in bars]
    above.barh(labels, [row["share"] for row in bars], xerr=[4 * row["error"] for row in bars], color=colors,
               ecolor=maker.color(6))  # fmt: skip
    above.set(xlim=(min(0.0, min(row["share"] for row in bars)), 1), xlabel="share of the variance of the final loss")
    above.grid(axis="y", visible=False)
    above.set_title("The learning rate first; with momentum in it, more")
    runs = rows[0]
    maker.measured(below, np.ravel(runs["effective_rate"]), runs["loss"], color=1, markersize=3)
    below.axhline(CONSTANT, color=maker.color(6), linewidth=1)
    below.set(xscale="log", ylim=(0, None), xlabel="learning rate / (1 - rho)", ylabel=f"loss, {config.steps} steps")
    below.set_title(f"Above the line a run counts as diverged: {runs['diverged']:.0%}")
    return figure


def caption(config: Config, rows: Rows) -> str:
    shares = {row["name"]: row["share"] for row in rows if row["kind"] == "share"}
    others = sorted((name for name in NAMES if name != "learning_rate"), key=lambda name: -shares[name])
    listed = ", ".join(f"{NAMES[name]} {max(shares[name], 0.0):.0%}" for name in others)
    return (
        f"Of the variance of the final loss the learning rate explains {shares['learning_rate']:.0%}, {listed};"
        f" lr / (1 - rho) alone explains {shares['effective_rate']:.0%}."
    )


def explained_share(groups: np.ndarray, response: np.ndarray) -> float:
    """The share of the variance of a response that lies between groups, without what chance puts there.

    (SS_between - (m - 1) MS_within) / SS_total; Kelley, An unbiased correlation ratio measure, 1935.

    Args:
      groups: the group of each run, whole numbers, shape [n].
      response: shape [n].

    Returns:
      The share; a little below 0 is possible where there is no effect.
    """
    counts = np.bincount(groups)
    kept = counts > 0
    means = np.bincount(groups, weights=response)[kept] / counts[kept]
    total = float(np.sum(np.square(response - response.mean())))
    between = float(np.sum(counts[kept] * np.square(means - response.mean())))
    within = (total - between) / max(len(response) - kept.sum(), 1)
    return float((between - (kept.sum() - 1) * within) / total)


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
        del extra
        first = state.count == 0
        moved, after = inner.update(updates, state.inner, params)
        scaled = jax.tree.map(lambda leaf: (gain - 1) * leaf, params)
        chosen = jax.tree.map(lambda a, b: jnp.where(first, a, b), (scaled, state.inner), (moved, after))
        return chosen[0], _Started(state.count + 1, chosen[1])

    return optax.GradientTransformationExtraArgs(init, update)


def _final_losses(config: Config, columns: dict[str, np.ndarray]) -> np.ndarray:
    """The loss over all examples after the steps, one program a batch size; that of a constant if it is larger."""
    problem = problems.load_problem(
        "digits-mlp", width=config.width, activation="relu", fraction=1.0, num_examples=config.num_examples,
        dtype="float32",
    )  # fmt: skip
    losses = np.empty(config.trials)
    for size in config.batch_sizes:
        members = np.flatnonzero(columns["batch_size"] == size)
        hyper = {name: column[members] for name, column in columns.items() if name != "batch_size"}
        trace = training.run(
            problem, _rule, hyper, steps=config.steps + 1, every=config.steps + 1, batch_size=int(size),
            seeds=config.seed + members, feasibility=training.Feasibility(baseline=CONSTANT),
        )  # fmt: skip
        losses[members] = trace["loss"][:, -1]
    return np.fmin(np.where(np.isfinite(losses), losses, CONSTANT), CONSTANT)


def _space(config: Config) -> search.Space:
    return search.Space(
        learning_rate=search.log_uniform(*config.learning_rates),
        rho=search.one_minus_log_uniform(0.0, config.largest_rho),
        batch_size=search.choices(*config.batch_sizes),
        weight_decay=search.log_uniform(*config.weight_decays),
        gain=search.log_uniform(*config.gains),
    )


def _groups(config: Config, name: str, column: np.ndarray) -> np.ndarray:
    """The bin of each run; a batch size is one by itself."""
    if name == "batch_size":
        return np.searchsorted(np.array(sorted(config.batch_sizes)), column)
    return _binned(column, config.num_bins)


def _binned(column: np.ndarray, num_bins: int) -> np.ndarray:
    """Bins that are equally full, by rank."""
    return np.argsort(np.argsort(column, kind="stable"), kind="stable") * num_bins // len(column)


def _pair(first: np.ndarray, second: np.ndarray, losses: np.ndarray, picked: np.ndarray) -> dict[str, float]:
    """What a pair explains beyond its two main effects, with its error from runs drawn again."""
    together = first * (second.max() + 1) + second

    def beyond(chosen: Any) -> float:
        alone = sum(explained_share(each[chosen], losses[chosen]) for each in (first, second))
        return explained_share(together[chosen], losses[chosen]) - alone

    again = [beyond(chosen) for chosen in picked]
    return {"share": beyond(slice(None)), "error": float(np.std(again))}


if __name__ == "__main__":
    raise SystemExit(main())
