"""Are the forms of Nesterov momentum the same method?

What the lecture says: Nesterov momentum looks ahead, "you evaluate the gradient at that point"; after a change of
variables you "evaluate the loss and the gradient at the same point", with an "error correcting term".

What is true: for a constant learning rate and rho the two forms, and optax's and torch's, make the same iterates, step
by step, on any loss. Three things differ. The iterate that the later forms report is the lookahead point x + rho v, and
under gradient noise its floor is higher. Where the learning rate stands matters once it changes: inside of the velocity
(lecture) an old velocity is kept at full length, outside (optax, torch) it shrinks with the rate.

Source: Nesterov 1983; Sutskever et al. 2013; Bengio et al. 2013; the parting after a drop is derived here: the two runs
differ by a free motion of the mode, started by the share of the velocity that only one of them keeps.
"""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.linalg import eigvalsh_tridiagonal

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import Problem, Verdict, from_loss
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main, measures
from jaxopt_lab.studies.fields import Between, OpenUnit, Positive, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, at_least, relative, within

FORMS = ("change of variables", "optax")
NUM_GROUPS = 40
REFERENCE = "Bengio et al. 2013, equation 7; algebra"
BELOW_THE_EDGE = Between("(0, 1.33)", why="Beyond it diverges.")


@configclass
class Config:
    """All that can change a number."""

    rho: OpenUnit = 0.9
    """Momentum constant, a pure number in (0, 1)."""
    dim: Annotated[int, Whole(2)] = 1000
    """Length of the chain of pendulums on which the forms are compared, a count."""
    chain_rate: Annotated[float, Between("(0, 0.16)", why="Beyond it diverges.")] = 0.05
    """Learning rate there; the curvature is at most 8."""
    steps: Annotated[int, Whole(2)] = 300
    """Steps there."""
    drop_rate: Annotated[float, BELOW_THE_EDGE] = 0.05
    """Learning rate before the drop, in units of 1 / eigenvalue."""
    drop_step: Annotated[int, Whole(2)] = 10
    """Steps before the drop; 150 follow."""
    drop_factor: Positive = 10.0
    """The learning rate falls by this factor."""
    noisy_rates: Annotated[tuple[float, ...], BELOW_THE_EDGE] = (0.1, 1.0)
    """Learning rates under noise, in units of 1 / eigenvalue."""
    num_chains: Annotated[int, Whole(NUM_GROUPS)] = 400
    """Independent noisy chains, a multiple of 40."""
    noisy_steps: Annotated[int, Whole(2)] = 2000
    """Steps of measuring the floor; 300 come before."""
    seed: int = 0
    """Seeds start and noise."""


PRESETS = {
    "quick": Config(),
    "full": Config(dim=20_000, steps=1000, noisy_rates=(0.01, 0.03, 0.1, 0.3, 1.0), num_chains=4000, noisy_steps=8000),
}


def run(config: Config) -> list[dict[str, Any]]:
    """A row for the forms on the chain, one for the drop of the rate, and one for each noisy learning rate."""
    return [_on_the_chain(config), _after_a_drop(config), *_under_noise(config)]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The same iterates; the parting after a drop; the floors of both points."""
    chain, drop, *noisy = rows
    gap, law = np.abs(drop["inside"] - drop["outside"]), np.abs(drop["predicted_gap"])
    return [
        # Rounding: each step adds a few 1e-16 of the iterate; 1e-12 a step leaves room for what the saddles amplify.
        *(absolute(f"The {form} form makes the iterates of the lookahead form, step by step",
                   f"largest relative difference in {config.steps} steps, d = {config.dim}", 0.0,
                   float(chain[form].max()), 1e-12 * config.steps, reference=REFERENCE) for form in FORMS),
        at_least("That is so on a loss that is not convex", "negative curvatures at the start", 1, chain["index"],
                 reference="eigenvalues of the chain"),
        absolute("While the learning rate is constant it may stand anywhere", "largest difference before the drop",
                 0.0, float(gap[: config.drop_step + 1].max()), 1e-14, unit="of the start", reference=REFERENCE),
        relative(f"After a drop by {config.drop_factor:g} the two part", "largest difference on eigenvalue 1",
                 float(law.max()), float(gap.max()), 1e-10, unit="of the start", reference="free motion of the mode"),
        *(_floor(row["learning_rate"], row["rho"], row) for row in noisy),
    ]  # fmt: skip


def _floor(rate: float, rho: float, row: Row) -> Verdict:
    ahead = theory.noise_floors.lookahead_variance(rate, 1.0, 1.0, rho, rho)
    exact = ahead / theory.noise_floors.stationary_variance(rate, 1.0, 1.0, rho, rho)
    # Four standard errors, from 40 independent groups of chains.
    return within(f"Under noise the reported point has the higher floor, learning rate x eigenvalue = {rate:g}",
                  "variance of x + rho v over that of x", float(exact), row["ratio"], row["ratio_error"],
                  reference="AR(2) correlation")  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Rounding between the forms on the chain (above); the parting after a drop (below)."""
    chain, drop = rows[0], rows[1]
    figure, (same, parted) = maker.axes(2, 1, height=6.6)
    steps = np.arange(1, config.steps + 1)
    maker.predicted(same, steps, 1e-12 * steps, color=6, label="allowed", linestyle=":")
    for color, form in enumerate(FORMS):
        maker.measured(same, steps[::10], chain[form][1::10], color=color, label=form)
    same.set(yscale="log", xlabel="step", ylabel="relative difference", ylim=(1e-17, 1e-8),
             title="To the lookahead form: rounding only")  # fmt: skip
    inside, outside, gap = (drop[name][: config.drop_step + 61] for name in ("inside", "outside", "predicted_gap"))
    time = np.arange(len(inside))
    parted.plot(time, outside + gap, color=maker.color(0))
    maker.measured(parted, time[::2], inside[::2], color=0, label="rate inside\n(lecture)")
    maker.measured(parted, time[::2], outside[::2], color=1, label="rate outside\n(optax, torch)")
    parted.axvline(config.drop_step, color=maker.color(6), linewidth=0.8, linestyle=":")
    parted.set(xlabel="step", ylabel="x / start",
               title=f"The learning rate falls by {config.drop_factor:g} at step {config.drop_step}")  # fmt: skip
    return figure


def caption(config: Config, rows: Rows) -> str:
    chain, drop, *noisy = rows
    worst, gap = max(float(chain[form].max()) for form in FORMS), np.abs(drop["inside"] - drop["outside"]).max()
    floors = " and ".join(f"{row['ratio']:.2f} at {row['learning_rate']:g}" for row in noisy)
    return (
        f"All forms make the same iterates (to {worst:.0e} in {config.steps} steps) while the learning rate is"
        f" constant; after a drop they part by up to {gap:.3f} of the start, and the point that is reported has a"
        f" noise floor {floors} times that of x."
    )


def _on_the_chain(config: Config) -> dict[str, Any]:
    """Relative differences of the reported points to those of the lookahead form, at each step."""
    start = jnp.asarray(3 * np.random.default_rng(config.seed).standard_normal(config.dim))
    paths = _paths(from_loss(_pendulums, start), start, config.steps, {
        "lookahead": rules.nesterov_lookahead(config.chain_rate, config.rho),
        "change of variables": rules.nesterov(config.chain_rate, config.rho),
        "optax": optax.sgd(config.chain_rate, momentum=config.rho, nesterov=True),
    })  # fmt: skip
    x = paths["lookahead"]
    ahead = x + config.rho * np.diff(x, axis=0, prepend=x[:1])
    scale = np.linalg.norm(ahead, axis=1)
    curvature = np.asarray(eigvalsh_tridiagonal(2 + 4 * np.cos(np.asarray(start)), -np.ones(config.dim - 1)))
    return {form: np.linalg.norm(paths[form] - ahead, axis=1) / scale for form in FORMS} | {
        "rho": config.rho, "learning_rate": config.chain_rate, "index": int((curvature < 0).sum()),
    }  # fmt: skip


def _pendulums(x: jax.Array, batch: None, key: Any) -> jax.Array:
    """A chain of pendulums, coupled to their neighbours by springs: 1/2 sum (x_{i+1} - x_i)^2 + 4 sum (1 - cos x_i)."""
    stretch = jnp.sum(jnp.square(jnp.diff(x))) + jnp.square(x[0]) + jnp.square(x[-1])
    return 0.5 * stretch + 4 * jnp.sum(1 - jnp.cos(x))


def _paths(problem: Problem, start: jax.Array, steps: int, made: dict[str, Any]) -> dict[str, np.ndarray]:
    """The parameters at every step of each rule, [steps + 1, d], side by side in one compiled loop."""
    gradient = jax.grad(lambda x: problem.loss(x, None, None))

    def step(carry: Any, _: None) -> Any:
        new = {}
        for form, (params, state) in carry.items():
            update = optax.with_extra_args_support(made[form]).update
            updates, state = update(gradient(params), state, params, grad_fn=gradient)
            new[form] = (optax.apply_updates(params, updates), state)
        return new, {form: params for form, (params, _) in new.items()}

    first = {form: (start, rule.init(start)) for form, rule in made.items()}
    _, paths = jax.jit(lambda carry: jax.lax.scan(step, carry, length=steps))(first)
    return {form: np.concatenate([start[None], path]) for form, path in paths.items()}


def _after_a_drop(config: Config) -> dict[str, Any]:
    """One mode of eigenvalue 1 whose learning rate drops once, with the rate inside and outside of the velocity."""
    rho, rate, drop, after = config.rho, config.drop_rate, config.drop_step, 150
    schedule = optax.piecewise_constant_schedule(rate, {drop: 1 / config.drop_factor})
    made = {"inside": rules.nesterov(schedule, rho), "outside": optax.sgd(schedule, momentum=rho, nesterov=True)}
    paths = _paths(objectives.quadratic(np.ones(1), start=1.0), jnp.ones(1), drop + after, made)
    law = theory.trajectories.gap_after_drop(rate, config.drop_factor, drop, after, rho)
    return {"rho": rho, "learning_rate": rate, "inside": paths["inside"][:, 0], "outside": paths["outside"][:, 0],
            "predicted_gap": law}  # fmt: skip


def _under_noise(config: Config) -> list[dict[str, Any]]:
    """Variances of x and of x + rho v in one run a rate, with the error of their ratio."""
    flat = objectives.quadratic(np.ones(config.num_chains - config.num_chains % NUM_GROUPS), start=0.0)

    def squares(seen: training.Observation) -> jax.Array:  # of x and x + rho v: means over groups, [groups, 2]
        points = jnp.stack([seen.params, seen.params + config.rho * seen.state.velocity], axis=-1)
        return jnp.square(points).reshape(NUM_GROUPS, -1, 2).mean(1)

    trace = training.run(
        objectives.with_noise(flat, "uniform", float(np.sqrt(3.0))), rules.nesterov_lookahead,
        {"learning_rate": np.array(config.noisy_rates), "rho": config.rho}, steps=300 + config.noisy_steps, every=10,
        seeds=config.seed + np.arange(len(config.noisy_rates)), probes=[training.Probe("squares", squares)],
    )  # fmt: skip
    rows = []
    for rate, found in zip(config.noisy_rates, trace["squares"][:, trace.steps > 300].mean(1), strict=True):
        x, ahead = np.moveaxis(found, -1, 0)
        ratio = measures.ratio_of_means(ahead, x)
        rows.append({"rho": config.rho, "learning_rate": rate, "variance": x.mean(), "reported_variance": ahead.mean(),
                     "ratio": ratio.value, "ratio_error": ratio.standard_error})  # fmt: skip
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
