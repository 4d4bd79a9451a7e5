"""Does momentum average the gradient noise out?

What the lecture says: with noisy gradients it "might actually take a long time", and with momentum "the noise kind of
gets averaged out"; its picture "added random uniform noise to the gradient at every point".

What is true: at the same learning rate momentum raises the floor of the error by 1 / (1 - rho), tenfold at 0.9. At the
same effective rate, learning_rate / (1 - rho), the floor stays what it was: nothing is averaged out but the path, whose
steps have (1 - rho) / (1 + rho) times the variance, 1/19 at 0.9. What does average noise is to average the
iterates (Polyak and Ruppert): noise variance / (eigenvalue^2 t), whatever the learning rate.

Source: Mandt, Hoffman and Blei 2017; Gitman et al. 2019; Yuan, Ying and Sayed 2016; Wang, Malladi et al. 2024.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import (
    Estimate,
    Verdict,
    fail,
    mean_of_samples,
)
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main
from jaxopt_lab.studies.fields import Between, Count, OneOf, OpenUnit, Positive, Whole, configclass
from jaxopt_lab.studies.verdicts import within

METHODS = ("SGD", "heavy ball", "Nesterov", "Nesterov, reported")
NUM_GROUPS = 40
REFERENCE = "Mandt, Hoffman, Blei 2017; AR(2) variance"


@configclass
class Config:
    """All that can change a number. Every eigenvalue is 1, so that each coordinate is a chain of its own."""

    rho: OpenUnit = 0.9
    """Momentum constant, a pure number in (0, 1)."""
    effective_rates: Annotated[tuple[float, ...], Between("(0, 2)", why="From 2 on SGD diverges.")] = (
        0.01,
        0.03,
        0.1,
        0.3,
        1.0,
    )
    """learning rate / (1 - rho), in units of 1 / eigenvalue; the learning rate itself for SGD."""
    kind: Annotated[str, OneOf(("uniform", "gaussian"))] = "uniform"
    """The gradient noise: "uniform", as in the lecture, or "gaussian"."""
    scale: Positive = 1.0
    """Largest value of the uniform noise, standard deviation of the Gaussian, in units of a gradient."""
    num_chains: Annotated[int, Whole(NUM_GROUPS)] = 400
    """Independent chains, the coordinates of the parameter vector: a multiple of 40."""
    settling: Count = 800
    """Steps before measuring; the slowest chain forgets its start by e every 1 / effective rate steps."""
    steps: Count = 2000
    """Steps of measuring, which is also the length of the Polyak-Ruppert average."""
    every: Count = 20
    """Steps between records."""
    seed: int = 0
    """Seeds the noise."""

    def __post_init__(self) -> None:
        if not self.effective_rates:
            raise fail("noise_floors", "effective_rates must hold at least one rate, got none")
        if self.num_chains % NUM_GROUPS:
            raise fail("noise_floors", f"num_chains must be a multiple of {NUM_GROUPS}, got {self.num_chains}")


PRESETS = {
    "quick": Config(),
    "full": Config(0.9, (0.001, 0.01, 0.03, 0.1, 0.3, 1.0), num_chains=4000, settling=8000, steps=12_000),
    "huge": Config(effective_rates=(0.001, 0.01, 0.1, 1.0), num_chains=20_000, settling=8000, steps=20_000, every=100),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a method and learning rate: variances of the iterate, its step and its average, with their errors."""
    flat = objectives.quadratic(np.ones(config.num_chains), start=0.0)
    noisy = objectives.with_noise(flat, config.kind, config.scale)
    fast = np.array(config.effective_rates)
    slow = fast * (1 - config.rho)
    plain = [("SGD", rate, 0.0) for rate in fast]
    heavy = [("heavy ball", rate, config.rho) for rate in slow]
    ahead = [("Nesterov", rate, config.rho) for rate in slow]
    found = _rows(config, noisy, rules.heavy_ball, plain + heavy)
    return found + _rows(config, noisy, rules.nesterov_lookahead, ahead)


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Every floor against its closed form; then the three ways of comparing momentum with SGD, and averaging."""
    floors = [_worst(rows, method, "variance", "variance") for method in METHODS]
    steps = [_worst(rows, method, "step_variance", "variance of a step") for method in METHODS[:3]]
    return [*floors, *steps, *_comparisons(config, rows), _averaging(rows)]


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Floors of the error (above) and of the step (below) against the effective rate, momentum beside SGD."""
    figure, panels = maker.axes(2, 1, sharex=True, height=7.0)
    dense = np.geomspace(min(config.effective_rates) * 0.8, max(config.effective_rates) * 1.1, 100)
    for axes, quantity in zip(panels, ("variance", "step_variance"), strict=True):
        for color, method in enumerate(METHODS[:3]):
            rho = 0.0 if method == "SGD" else config.rho
            predicted = _predicted(method, quantity, dense * (1 - rho), rho, _noise_variance(config))
            style = "--" if method == "heavy ball" and quantity == "variance" else "-"
            maker.predicted(axes, dense, predicted, color=color, label=method, linestyle=style)
            chosen = rows.where(method=method)
            measured = [row[quantity] for row in chosen]
            maker.measured(axes, [row["effective_rate"] for row in chosen], measured, color=color)
        axes.set(xscale="log", yscale="log")
    panels[0].set(ylabel="variance of the error")
    panels[0].set_title("The error: the same floor at the same effective rate")
    panels[1].set(ylabel="variance of a step", xlabel="effective rate x eigenvalue, learning rate / (1 - rho)")
    panels[1].set_title(f"The path: {(1 + config.rho) / (1 - config.rho):.0f} times smoother with momentum")
    return figure


def caption(config: Config, rows: Rows) -> str:
    low = min(config.effective_rates)
    heavy, plain = (_row(rows, method, low) for method in ("heavy ball", "SGD"))
    floor, path = heavy["variance"] / plain["variance"], plain["step_variance"] / heavy["step_variance"]
    gain = plain["variance"] / plain["averaged_variance"]
    return (
        f"At the same effective rate momentum leaves the error's floor where it is ({floor:.2f} times SGD's at {low:g})"
        f" and only smooths the path (steps of {path:.0f} times less variance); averaging {config.steps} iterates"
        f" of SGD lowers the floor {gain:.0f} times."
    )


def _rows(
    config: Config, problem: Any, rule: Callable[..., Any], settings: list[tuple[str, float, float]]
) -> list[dict[str, Any]]:
    methods, rates, rhos = zip(*settings, strict=True)
    trace = training.run(
        problem,
        partial(_averaged, rule, config.settling),
        {"learning_rate": np.array(rates), "rho": np.array(rhos)},
        steps=config.settling + config.steps,
        every=config.every,
        seeds=config.seed + np.arange(len(settings)),
        params=jnp.zeros(config.num_chains),
        probes=[training.Probe("squares", partial(_squares, rhos[-1]), needs=("updates",))],
    )
    after = trace["squares"][:, trace.steps > config.settling]  # [settings, records, 4, groups]
    rows = []
    for k, method in enumerate(methods):
        for name, place in [(method, 0)] + ([("Nesterov, reported", 3)] if method == "Nesterov" else []):
            measured = {
                "variance": mean_of_samples(after[k, :, place].mean(0)),
                "step_variance": mean_of_samples(after[k, :, 1].mean(0)),
                "averaged_variance": mean_of_samples(after[k, -1, 2]),
            }  # fmt: skip
            rows.append(_row_of(config, problem, name, float(rates[k]), rhos[k], measured))
    return rows


def _row_of(
    config: Config, problem: Any, method: str, rate: float, rho: float, measured: dict[str, Estimate]
) -> dict[str, Any]:
    row: dict[str, Any] = {"method": method, "learning_rate": rate, "rho": rho, "effective_rate": rate / (1 - rho)}
    noise = problem.truth.noise_variance
    for name, estimate in measured.items():
        row |= {
            name: estimate.value, f"{name}_error": estimate.standard_error,
            f"{name}_predicted": float(_predicted(method, name, rate, rho, noise, config.steps)),
        }  # fmt: skip
    return row


def _averaged(
    rule: Callable[..., optax.GradientTransformation], start: int, learning_rate: Any, rho: Any
) -> optax.GradientTransformationExtraArgs:
    return rules.average_iterates(rule(learning_rate, rho), start=start)


def _squares(rho: float, seen: training.Observation) -> jax.Array:
    """Mean squares over each group of chains, [4, groups]: of x, of its step, of its average, of x + rho (step)."""
    ahead = seen.params + rho * seen.updates
    tracked = jnp.stack([seen.params, seen.updates, rules.averaged_params(seen.state, seen.params), ahead])
    return jnp.square(tracked).reshape(4, NUM_GROUPS, -1).mean(-1)


def _predicted(method: str, quantity: str, rate: Any, rho: float, noise: float, steps: int = 1) -> Any:
    ahead = rho if method.startswith("Nesterov") else 0.0
    if quantity == "averaged_variance":
        return theory.noise_floors.averaged_variance(1.0, noise, steps)
    if quantity == "step_variance":
        return theory.noise_floors.step_variance(rate, 1.0, noise, rho, ahead)
    if method == "Nesterov, reported":
        return theory.noise_floors.lookahead_variance(rate, 1.0, noise, rho, ahead)
    return theory.noise_floors.stationary_variance(rate, 1.0, noise, rho, ahead)


def _row(rows: Rows, method: str, effective_rate: float) -> Any:
    found = rows.where(method=method)
    return min(found, key=lambda row: abs(row["effective_rate"] - effective_rate))


def _noise_variance(config: Config) -> float:
    return (
        float(theory.noise_floors.uniform_noise_variance(config.scale)) if config.kind == "uniform" else config.scale**2
    )


def _worst(rows: Rows, method: str, name: str, words: str) -> Verdict:
    chosen = rows.where(method=method)
    scores = [(row[name] - row[f"{name}_predicted"]) / row[f"{name}_error"] for row in chosen]
    k = int(np.argmax(np.abs(scores)))
    row = chosen[k]
    # Groups of chains are independent, so the error is exact: 4 of them, in 40 groups, is passed once in 3,600 times.
    return within(f"{method}: the {words} is the closed form's at all {len(chosen)} learning rates",
                  f"{words} where it is furthest off, effective rate {row['effective_rate']:g}",
                  row[f"{name}_predicted"], row[name], row[f"{name}_error"], unit="squared gradients / eigenvalue^2",
                  reference=REFERENCE)  # fmt: skip


def _ratio(claim: str, quantity: str, name: str, over: Any, under: Any, predicted: float) -> Verdict:
    value = over[name] / under[name]  # of two runs with noise of their own
    error = value * np.hypot(over[f"{name}_error"] / over[name], under[f"{name}_error"] / under[name])
    return within(claim, quantity, predicted, value, error, reference=REFERENCE)


def _comparisons(config: Config, rows: Rows) -> list[Verdict]:
    rho, low, high = config.rho, min(config.effective_rates), max(config.effective_rates)
    noise = _noise_variance(config)
    rate = high * (1 - rho)
    found = []
    plain, heavy = _row(rows, "SGD", rate), _row(rows, "heavy ball", high)
    if np.isclose(plain["learning_rate"], rate):
        exact = theory.noise_floors.stationary_variance(
            rate, 1.0, noise, rho
        ) / theory.noise_floors.stationary_variance(rate, 1.0, noise)
        found.append(_ratio(
            f"At the same learning rate momentum raises the floor by about 1 / (1 - rho) = {1 / (1 - rho):.0f}",
            f"heavy ball's variance over SGD's at learning rate {rate:g}", "variance", heavy, plain, float(exact),
        ))  # fmt: skip
    plain, heavy = _row(rows, "SGD", low), _row(rows, "heavy ball", low)
    slow = low * (1 - rho)
    floor, path = theory.noise_floors.stationary_variance, theory.noise_floors.step_variance
    for name, words, claim, law in (
        ("variance", "variance", "At the same effective rate momentum averages no noise out", floor),
        ("step_variance", "variance of a step", "Only the path is smoother, by (1 - rho) / (1 + rho)", path),
    ):
        exact = law(slow, 1.0, noise, rho) / law(low, 1.0, noise)
        quantity = f"heavy ball's {words} over SGD's at effective rate {low:g}"
        found.append(_ratio(claim, quantity, name, heavy, plain, float(exact)))
    return found


def _averaging(rows: Rows) -> Verdict:
    # The law leaves out the average's own correlation time, 1 / (effective rate x steps) of it: the fastest runs are
    # taken, where that is below a tenth of the standard error.
    chosen = [row for row in rows if row["method"] in ("SGD", "heavy ball")]
    top = max(row["effective_rate"] for row in chosen)
    row = max((row for row in chosen if row["effective_rate"] == top), key=lambda row: row["rho"])
    return within("Averaging the iterates averages the noise: noise variance / (eigenvalue^2 t) at any rate and momentum",
                  f"variance of the mean iterate of {row['method']}", row["averaged_variance_predicted"],
                  row["averaged_variance"], row["averaged_variance_error"], unit="squared gradients / eigenvalue^2",
                  reference="Polyak and Juditsky 1992, theorem 1")  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
