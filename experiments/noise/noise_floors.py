"""Does momentum average the gradient noise out?

What the lecture says: with noisy gradients it "might actually take a long time", and with momentum "the noise kind of
gets averaged out"; its picture "added random uniform noise to the gradient at every point".

What is true: at the same learning rate momentum raises the floor of the error by 1 / (1 - rho), tenfold at 0.9. At the
same effective rate, learning_rate / (1 - rho), the floor stays what it was: nothing is averaged out but the path, whose
steps have (1 - rho) / (1 + rho) times the variance, 1/19 at 0.9. What does average noise is to average the
iterates (Polyak and Ruppert): noise variance / (eigenvalue^2 t), whatever the learning rate.

Source: Mandt, Hoffman and Blei 2017; Gitman et al. 2019; Yuan, Ying and Sayed 2016; Wang, Malladi et al. 2024.
"""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import Verdict, mean_of_samples
from jaxopt_lab.reporting import FigureMaker, sliders
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Between, Count, MultipleOf, NotEmpty, OneOf, OpenUnit, Positive, configclass
from jaxopt_lab.studies.verdicts import everywhere, within

METHODS = ("SGD", "heavy ball", "Nesterov", "Nesterov, reported")
NUM_GROUPS = 40
REFERENCE = "Mandt, Hoffman, Blei 2017; AR(2) variance"
SQUARES = "squared gradients / eigenvalue^2"
BELOW_THE_EDGE = Between("(0, 2)", why="From 2 on SGD diverges.")


@configclass
class Config:
    """All that can change a number. Every eigenvalue is 1, so that each coordinate is a chain of its own."""

    rho: OpenUnit = 0.9
    """Momentum constant, a pure number in (0, 1)."""
    effective_rates: Annotated[tuple[float, ...], NotEmpty("rate"), BELOW_THE_EDGE] = (0.01, 0.03, 0.1, 0.3, 1.0)
    """learning rate / (1 - rho), in units of 1 / eigenvalue; the learning rate itself for SGD."""
    kind: Annotated[str, OneOf(("uniform", "gaussian"))] = "uniform"
    """The gradient noise: "uniform", as in the lecture, or "gaussian"."""
    scale: Positive = 1.0
    """Largest value of the uniform noise, standard deviation of the Gaussian, in units of a gradient."""
    num_chains: Annotated[int, MultipleOf(NUM_GROUPS)] = 400
    """Independent chains, the coordinates of the parameter vector: a multiple of 40."""
    settling: Count = 800
    """Steps before measuring; the slowest chain forgets its start by e every 1 / effective rate steps."""
    steps: Count = 2000
    """Steps of measuring, which is also the length of the Polyak-Ruppert average."""
    every: Count = 20
    """Steps between records."""
    seed: int = 0
    """Seeds the noise."""


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
    slow, rho = fast * (1 - config.rho), config.rho
    plain = [("SGD", rate, 0.0) for rate in fast] + [("heavy ball", rate, rho) for rate in slow]
    ahead = [("Nesterov", rate, rho) for rate in slow]
    found = _rows(config, noisy, rules.heavy_ball, plain)
    return found + _rows(config, noisy, rules.nesterov_lookahead, ahead)


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Every floor against its closed form; then the three ways of comparing momentum with SGD, and averaging."""
    # Groups of chains are independent, so the error is exact: 4 of them, in 40 groups, is passed once in 3,600 times.
    floors = [everywhere(f"{method}: the {told} is the closed form's at all {len(runs)} learning rates",
                         told + " where it is furthest off, effective rate {effective_rate:g}", runs, name,
                         f"{name}_predicted", errors=f"{name}_error", unit=SQUARES, reference=REFERENCE)
              for name, told in (("variance", "variance"), ("step_variance", "variance of a step"))
              for method, runs in rows.by("method").items()
              if (method, name) != ("Nesterov, reported", "step_variance")]  # fmt: skip
    # The law leaves out the average's own correlation time, 1 / (effective rate x steps) of it: the fastest runs are
    # taken, where that is below a tenth of the standard error.
    last = _nearest(rows, "heavy ball", max(config.effective_rates))
    claim = "Averaging the iterates averages the noise: noise variance / (eigenvalue^2 t) at any rate and momentum"
    return [*floors, *_comparisons(config, rows), within(
        claim, f"variance of the mean iterate of {last['method']}", last["averaged_variance_predicted"],
        last["averaged_variance"], last["averaged_variance_error"], unit=SQUARES,
        reference="Polyak and Juditsky 1992, theorem 1",
    )]  # fmt: skip


def _comparisons(config: Config, rows: Rows) -> list[Verdict]:
    rho, low, high = config.rho, min(config.effective_rates), max(config.effective_rates)
    rate, found = high * (1 - rho), []
    plain, heavy = _nearest(rows, "SGD", rate), _nearest(rows, "heavy ball", high)
    if np.isclose(plain["learning_rate"], rate):
        found.append(_ratio(
            f"At the same learning rate momentum raises the floor by about 1 / (1 - rho) = {1 / (1 - rho):.0f}",
            f"variance over SGD's at learning rate {rate:g}", "variance", (heavy, rate), (plain, rate), config,
        ))  # fmt: skip
    plain, heavy = (_nearest(rows, "SGD", low), low), (_nearest(rows, "heavy ball", low), low * (1 - rho))
    return [
        *found,
        _ratio("At the same effective rate momentum averages no noise out",
               f"variance over SGD's at effective rate {low:g}",
               "variance", heavy, plain, config),
        _ratio("Only the path is smoother, by (1 - rho) / (1 + rho)",
               f"variance of a step over SGD's at effective rate {low:g}", "step_variance", heavy, plain, config),
    ]  # fmt: skip


def _ratio(
    claim: str, quantity: str, name: str, heavy: tuple[Row, float], plain: tuple[Row, float], config: Config
) -> Verdict:
    (over, slow), (under, fast) = heavy, plain
    value, noise = over[name] / under[name], _noise_variance(config)  # of two runs with noise of their own
    error = value * np.hypot(over[f"{name}_error"] / over[name], under[f"{name}_error"] / under[name])
    exact = _predicted("heavy ball", name, slow, config.rho, noise) / _predicted("SGD", name, fast, 0.0, noise)
    return within(claim, f"heavy ball's {quantity}", float(exact), value, error, reference=REFERENCE)


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Floors of the error (above) and of the step (below) against the effective rate, momentum beside SGD."""
    figure, panels = maker.axes(2, 1, sharex=True, height=7.0)
    dense = np.geomspace(min(config.effective_rates) * 0.8, max(config.effective_rates) * 1.1, 100)
    for axes, quantity in zip(panels, ("variance", "step_variance"), strict=True):
        for color, method in enumerate(METHODS[:3]):
            rho, runs = 0.0 if method == "SGD" else config.rho, rows.where(method=method)
            predicted = _predicted(method, quantity, dense * (1 - rho), rho, _noise_variance(config))
            style = "--" if method == "heavy ball" and quantity == "variance" else "-"
            maker.predicted(axes, dense, predicted, color=color, label=method, linestyle=style)
            maker.measured(axes, runs["effective_rate"], runs[quantity], color=color)
        axes.set(xscale="log", yscale="log")
    smoother = (1 + config.rho) / (1 - config.rho)
    panels[0].set(ylabel="variance of the error", title="The error: the same floor at the same effective rate")
    panels[1].set(ylabel="variance of a step", xlabel="effective rate x eigenvalue, learning rate / (1 - rho)",
                  title=f"The path: {smoother:.0f} times smoother with momentum")  # fmt: skip
    return figure


def slider(config: Config, rows: Rows) -> dict[str, Any]:
    """The floor of the error against the effective rate, at one rho, up to the edge."""
    noise, runs = (
        _noise_variance(config),
        [(k, method, rows.where(method=method)) for k, method in enumerate(METHODS[:3])],
    )
    return sliders.slider(
        "stationary_variance", noise=noise,
        x=sliders.axis("learning rate / (1 - rho), x eigenvalue", min(config.effective_rates) / 2, 100, log=True),
        y=sliders.axis("variance of the error", noise * min(config.effective_rates) / 10, 100 * noise, log=True),
        dots=[sliders.dots(f"{method}, measured", cells["effective_rate"], cells["variance"], color=color,
                           rho=config.rho if color else None) for color, method, cells in runs],
    )  # fmt: skip


def caption(config: Config, rows: Rows) -> str:
    low = min(config.effective_rates)
    heavy, plain = (_nearest(rows, method, low) for method in ("heavy ball", "SGD"))
    floor, path = heavy["variance"] / plain["variance"], plain["step_variance"] / heavy["step_variance"]
    return (
        f"At the same effective rate momentum leaves the error's floor where it is ({floor:.2f} times SGD's at {low:g})"
        f" and only smooths the path (steps of {path:.0f} times less variance); averaging {config.steps} iterates"
        f" of SGD lowers the floor {plain['variance'] / plain['averaged_variance']:.0f} times."
    )


def _rows(config: Config, problem: Any, rule: Any, settings: list[tuple[str, float, float]]) -> list[Row]:
    methods, rates, rhos = zip(*settings, strict=True)

    def squares(seen: training.Observation) -> jax.Array:  # means over each group of chains, [4, groups]
        ahead = seen.params + rhos[-1] * seen.updates
        tracked = jnp.stack([seen.params, seen.updates, rules.averaged_params(seen.state, seen.params), ahead])
        return jnp.square(tracked).reshape(4, NUM_GROUPS, -1).mean(-1)

    trace = training.run(
        problem, lambda learning_rate, rho: rules.average_iterates(rule(learning_rate, rho), start=config.settling),
        {"learning_rate": np.array(rates), "rho": np.array(rhos)}, steps=config.settling + config.steps,
        every=config.every, seeds=config.seed + np.arange(len(settings)), params=jnp.zeros(config.num_chains),
        probes=[training.Probe("squares", squares, needs=("updates",))],
    )  # fmt: skip
    after, noise, rows = trace["squares"][:, trace.steps > config.settling], problem.truth.noise_variance, []
    for method, rate, rho, found in zip(methods, rates, rhos, after, strict=True):  # found: [records, 4, groups]
        for name, place in [(method, 0)] + ([("Nesterov, reported", 3)] if method == "Nesterov" else []):
            row: Row = {"method": name, "learning_rate": float(rate), "rho": rho}
            means = {"variance": found[:, place].mean(0), "step_variance": found[:, 1].mean(0),
                     "averaged_variance": found[-1, 2]}  # fmt: skip
            for what, estimate in ((what, mean_of_samples(groups)) for what, groups in means.items()):
                predicted = float(_predicted(name, what, float(rate), rho, noise, config.steps))
                row |= {what: estimate.value, f"{what}_error": estimate.standard_error, f"{what}_predicted": predicted}
            rows.append(row)
    return rows


def _predicted(method: str, quantity: str, rate: Any, rho: float, noise: float, steps: int = 1) -> Any:
    laws, ahead = theory.noise_floors, rho if method.startswith("Nesterov") else 0.0
    if quantity == "averaged_variance":
        return laws.averaged_variance(1.0, noise, steps)
    reported = laws.lookahead_variance if method == "Nesterov, reported" else laws.stationary_variance
    return (laws.step_variance if quantity == "step_variance" else reported)(rate, 1.0, noise, rho, ahead)


def _nearest(rows: Rows, method: str, effective_rate: float) -> Row:
    return min(rows.where(method=method), key=lambda row: abs(row["effective_rate"] - effective_rate))


def _noise_variance(config: Config) -> float:
    uniform = config.kind == "uniform"
    return float(theory.noise_floors.uniform_noise_variance(config.scale)) if uniform else config.scale**2


if __name__ == "__main__":
    raise SystemExit(main())
