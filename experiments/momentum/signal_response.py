"""What does momentum do to a gradient: to a constant one, a zig-zag, noise, and none at all?

What the lecture says: velocity "will just keep building up", and carries on where there is no gradient; zig-zags
"cancel each other out pretty fast"; the step is a "weighted average", a "smooth moving average of your recent
gradients"; the first velocity, "just set it to zero and don't worry".

What is true: the velocity is a linear filter. A constant gradient is amplified 1 / (1 - rho) times, tenfold at 0.9,
after some 22 steps; a zig-zag is at best halved, to 1 / (1 + rho), and with Nesterov it grows, by
(1 + 2 rho) / (1 + rho). The weights of the sum add up to 1 / (1 - rho) and not to 1: it is no average. On flat ground
a run coasts rho / (1 - rho) times its last step, nine steps' worth, no further. Zero is the right first velocity:
another only adds a displacement.

Source: Goh 2017; Sutskever, Martens, Dahl and Hinton 2013; the transfer function 1 / (1 - rho exp(-i w)).
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab import rules, theory
from jaxopt_lab.core import Verdict, fail, mean_of_samples, require_count
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main
from jaxopt_lab.studies.fields import Between, Positive, configclass
from jaxopt_lab.studies.verdicts import absolute, relative, within

METHODS: dict[str, Callable[..., Any]] = {
    "heavy ball": rules.heavy_ball, "Nesterov": rules.nesterov, "averaged": partial(rules.quasi_hyperbolic, nu=1.0),
}  # fmt: skip
PERIOD, NUM_GROUPS = 64, 40
REFERENCE = "transfer function of v <- rho v + g"


@configclass
class Config:
    """All that can change a number. The gradients are given, so that no loss is needed."""

    rhos: Annotated[tuple[float, ...], Between("(0, 1)", why="At 1 it never forgets a gradient.")] = (0.5, 0.9, 0.99)
    """Momentum constants, pure numbers in (0, 1)."""
    shown_rho: float = 0.9
    """The one of them whose gain is drawn."""
    learning_rate: Positive = 0.1
    """Learning rate, in units of a step over a gradient; gains do not depend on it."""
    slope: int = 4096
    """Steps of gradient, a multiple of 64; as many without it follow."""
    num_chains: int = 400
    """Independent sequences of white noise, a multiple of 40."""
    seed: int = 0
    """Seeds the noise."""

    def __post_init__(self) -> None:
        if not self.rhos or self.shown_rho not in self.rhos:
            raise fail("signal_response", f"shown_rho must be one of rhos, got {self.shown_rho} and {self.rhos}")
        for name, unit in (("slope", PERIOD), ("num_chains", NUM_GROUPS)):
            require_count("signal_response", name, getattr(self, name), minimum=unit)
            if getattr(self, name) % unit:
                raise fail("signal_response", f"{name} must be a multiple of {unit}, got {getattr(self, name)}")
        if max(self.rhos) ** self.slope > 1e-9:
            shortest = int(-20.8 / np.log(max(self.rhos)))
            raise fail("signal_response", f"slope must be at least {shortest} steps at rho {max(self.rhos)}")


PRESETS = {
    "quick": Config(),
    "full": Config(rhos=(0.5, 0.9, 0.95, 0.99, 0.999), slope=32_768, num_chains=400),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a method and rho: its steps, over the learning rate, in answer to each signal."""
    noise = np.random.default_rng(config.seed).standard_normal((config.slope, config.num_chains))
    frequencies = 2 * np.pi * np.arange(PERIOD // 2 + 1) / PERIOD
    waves = np.cos(np.arange(config.slope)[:, None] * frequencies)
    zeros = np.zeros(config.slope)
    on_slope = {"waves": waves, "noise": noise, "impulse": np.eye(1, config.slope)[0], "pushed": zeros}
    rows = []
    for method, rule in METHODS.items():
        steps: dict[str, jax.Array] = _respond(
            rule, jnp.asarray(config.rhos), config.learning_rate, jax.tree.map(jnp.asarray, on_slope)
        )
        for k, rho in enumerate(config.rhos):
            moves = {name: -np.asarray(values[k], float) / config.learning_rate for name, values in steps.items()}
            rows.append(_row(config, method, rho, frequencies, moves))
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Gains for constant, alternating and noisy gradients; speed; coasting; a first velocity; the weights."""
    heavy, nesterov, averaged = (_find(rows, method, config.shown_rho) for method in METHODS)
    return [
        *(verdict for row in (heavy, nesterov) for verdict in _gains(row)),
        *(_every_frequency(rows.where(method=method)) for method in ("heavy ball", "Nesterov")),
        *_motion(heavy),
        *(_weights(row) for row in (heavy, averaged)),
        _every_rho(rows.where(method="heavy ball")),
    ]


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Gain against frequency for one rho (above), and how speed builds up for all of them (below)."""
    figure, (gains, speeds) = maker.axes(2, 1, height=7.2)
    rho, dense = config.shown_rho, np.linspace(0, np.pi, 400)
    for color, method in enumerate(("heavy ball", "Nesterov")):
        ahead = rho if method == "Nesterov" else 0.0
        maker.predicted(
            gains, dense / np.pi, theory.momentum_response.transfer_gain(dense, rho, ahead), color=color, label=method
        )
        row = _find(rows, method, rho)
        maker.measured(gains, row["frequency"] / np.pi, row["gain"], color=color)
    maker.predicted(gains, [0, 1], [1, 1], color=6, label="plain SGD", linestyle=":")
    low, high = theory.momentum_response.alternating_gain(rho), theory.momentum_response.alternating_gain(rho, rho)
    steady = theory.momentum_response.constant_gain(rho)
    gains.annotate(f"slope: x {steady:.3g}", (0, steady), xytext=(10, -4), textcoords="offset points")
    for gain in (low, high):
        gains.annotate(f"zig-zag: x {gain:.2f}", (1, gain), xytext=(-4, 10), textcoords="offset points", ha="right")
    gains.set(
        yscale="log", xlabel="frequency of the gradient: 0 constant, 1 alternating", ylabel="step over SGD's step"
    )
    gains.set_title(f"Gain at rho = {rho:g}")
    steps = np.arange(1, 81)
    for color, rho in enumerate(config.rhos, start=2):
        maker.predicted(
            speeds, steps, theory.momentum_response.speed_fraction(steps, rho), color=color, label=f"rho = {rho:g}"
        )
        speed = _find(rows, "heavy ball", rho)["speed"]
        maker.measured(speeds, steps[1::4], speed[1 : len(steps) : 4] * (1 - rho), color=color)
    speeds.axhline(0.9, color=maker.color(6), linewidth=0.8, linestyle=":")
    speeds.set(xlabel="steps on a constant slope", ylabel="speed over its limit", ylim=(0, 1.05))
    speeds.set_title("Building up speed; dotted: 90 %")
    return figure


def caption(config: Config, rows: Rows) -> str:
    heavy, nesterov = (_find(rows, method, config.shown_rho) for method in ("heavy ball", "Nesterov"))
    return (
        f"At rho = {config.shown_rho:g} momentum makes steps {heavy['gain'][0]:.3g} times as long on a slope and only"
        f" {heavy['gain'][-1]:.2f} times as long in a zig-zag ({nesterov['gain'][-1]:.2f} times with Nesterov): the"
        f" zig-zag is halved at best, the gain is all in the slope, and it takes {heavy['steps_to_90']} steps to come."
    )


@partial(jax.jit, static_argnums=0)
def _respond(rule: Callable[..., Any], rhos: jax.Array, rate: float, signals: dict[str, jax.Array]) -> Any:
    """The updates that a rule makes of signals [t, ...], for each rho: on the signal, then on flat ground."""

    def single(rho: jax.Array) -> Any:
        made = rule(learning_rate=rate, rho=rho)
        params = jax.tree.map(lambda signal: jnp.zeros_like(signal[0]), signals)
        state = made.init(params)
        state = state._replace(velocity=state.velocity | {"pushed": jnp.ones_like(params["pushed"])})

        def step(state: Any, gradient: Any) -> Any:
            updates, state = made.update(gradient, state, params)
            return state, updates

        state, moving = jax.lax.scan(step, state, signals)
        _, coasting = jax.lax.scan(step, state, jax.tree.map(jnp.zeros_like, signals))
        return moving | {"coasting": coasting["waves"][:, 0]}

    return jax.vmap(single)(rhos)


def _row(config: Config, method: str, rho: float, frequencies: np.ndarray, moves: dict[str, np.ndarray]) -> Any:
    times = np.arange(config.slope)[-PERIOD:, None]
    wave = (moves["waves"][-PERIOD:] * np.exp(-1j * frequencies * times)).mean(0)
    strength = np.where((frequencies == 0) | (frequencies == np.pi), 1.0, 2.0)  # a cosine is half of a wave
    settled = moves["noise"][config.slope // 4 :]
    noise = mean_of_samples(np.square(settled).reshape(len(settled), NUM_GROUPS, -1).mean((0, 2)))
    speed = moves["waves"][:, 0]
    return {
        "method": method, "rho": rho, "learning_rate": config.learning_rate, "frequency": frequencies,
        "gain": strength * np.abs(wave), "noise_gain": noise.value, "noise_gain_error": noise.standard_error,
        "sum_of_weights": moves["impulse"].sum(),
        "number_averaged": moves["impulse"].sum() ** 2 / np.square(moves["impulse"]).sum(), "speed": speed[:200],
        "steps_to_90": int(np.argmax(speed >= 0.9 * speed[-1])) + 1, "coasting": moves["coasting"].sum() / speed[-1],
        "displacement": moves["pushed"].sum(),
    }  # fmt: skip


def _find(rows: Rows, method: str, rho: float) -> Any:
    return next(row for row in rows if row["method"] == method and row["rho"] == rho)


def _gains(row: Any) -> list[Verdict]:
    rho, who = row["rho"], f"{row['method']}, rho = {row['rho']:g}"
    ahead = rho if row["method"] == "Nesterov" else 0.0
    turn = "halved at best" if ahead == 0 else "amplified"
    # What is left of the start after `slope` steps is rho^slope < 1e-9 of the whole; so for all that follows but noise.
    return [
        relative(f"A slope is amplified 1 / (1 - rho) times ({who})", "step over SGD's step, constant gradient",
                 float(theory.momentum_response.constant_gain(rho)), row["gain"][0], 1e-8, reference=REFERENCE),
        relative(f"A zig-zag is {turn} ({who})", "step over SGD's step, alternating gradient",
                 float(theory.momentum_response.alternating_gain(rho, ahead)), row["gain"][-1], 1e-8,
                 reference=REFERENCE),
        within(f"White noise is amplified, less than a slope ({who})", "variance of a step over SGD's",
               float(theory.momentum_response.noise_gain(rho, ahead)), row["noise_gain"], row["noise_gain_error"],
               reference="sum of the squared impulse response"),
    ]  # fmt: skip


def _every_frequency(rows: Rows) -> Verdict:
    worst = 0.0
    for row in rows:
        exact = theory.momentum_response.transfer_gain(
            row["frequency"], row["rho"], row["rho"] if row["method"] == "Nesterov" else 0.0
        )
        worst = max(worst, float(np.abs(row["gain"] / exact - 1).max()))
    # The smallest gain, 1/2, is 200 times below the largest, so that what is left of the start weighs 200 times more.
    return absolute(f"{rows[0]['method']} answers every frequency by its transfer function",
                    f"largest relative error of {len(rows)} x {PERIOD // 2 + 1} gains", 0.0, worst, 1e-6,
                    reference=REFERENCE)  # fmt: skip


def _every_rho(rows: Rows) -> Verdict:
    laws = {
        "coasting": theory.momentum_response.mean_gradient_age,
        "displacement": theory.momentum_response.mean_gradient_age,
        "sum_of_weights": theory.momentum_response.constant_gain,
        "number_averaged": theory.momentum_response.effective_number_averaged,
    }  # fmt: skip
    errors = [abs(row[name] / float(law(row["rho"])) - 1) for row in rows for name, law in laws.items()]
    late = [row["steps_to_90"] - np.ceil(theory.momentum_response.steps_to_speed(0.9, row["rho"])) for row in rows]
    return absolute("So it is at every rho: coasting, first velocity, weights, gradients averaged, steps to 90 %",
                    f"largest relative error at rho = {', '.join(str(row['rho']) for row in rows)}", 0.0,
                    max(*errors, *np.abs(late)), 1e-8, reference="geometric series")  # fmt: skip


def _motion(row: Any) -> list[Verdict]:
    rho = row["rho"]
    return [
        absolute(f"Velocity builds up to 90 % in ln 0.1 / ln rho steps, rho = {rho:g}",
                 "first step at 90 % of the limit", float(np.ceil(theory.momentum_response.steps_to_speed(0.9, rho))),
                 row["steps_to_90"], unit="steps", reference="geometric series"),
        relative(f"Without a gradient a run coasts rho / (1 - rho) last steps, no further, rho = {rho:g}",
                 "distance over the last step", float(theory.momentum_response.coasting_distance(1.0, rho)),
                 row["coasting"], 1e-8, unit="steps", reference="geometric series"),
        relative(f"A first velocity of 1 only adds a displacement, rho = {rho:g}", "total displacement on flat ground",
                 -float(theory.momentum_response.initial_velocity_displacement(1.0, 1.0, rho)), row["displacement"],
                 1e-8, unit="learning rates", reference="geometric series"),
    ]  # fmt: skip


def _weights(row: Any) -> Verdict:
    rho = row["rho"]
    averaged = row["method"] == "averaged"
    claim = "With v <- rho v + (1 - rho) g it is" if averaged else "The velocity is no weighted average:"
    return relative(f"{claim} {'an average' if averaged else 'its weights add up to 1 / (1 - rho)'} at rho = {rho:g}",
                    "sum of the weights of past gradients",
                    1.0 if averaged else float(theory.momentum_response.constant_gain(rho)), row["sum_of_weights"],
                    1e-8, reference="geometric series")  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
