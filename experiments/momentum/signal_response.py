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

from jaxopt_lab import rules
from jaxopt_lab.core import Verdict, fail, mean_of_samples
from jaxopt_lab.reporting import FigureMaker, sliders
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Between, MultipleOf, Positive, configclass
from jaxopt_lab.studies.verdicts import absolute, relative, within
from jaxopt_lab.theory import momentum_response as law

METHODS: dict[str, Callable[..., Any]] = {
    "heavy ball": rules.heavy_ball, "Nesterov": rules.nesterov, "averaged": partial(rules.quasi_hyperbolic, nu=1.0),
}  # fmt: skip
PERIOD, NUM_GROUPS = 64, 40
REFERENCE, SERIES = "transfer function of v <- rho v + g", "geometric series"


@configclass
class Config:
    """All that can change a number. The gradients are given, so that no loss is needed."""

    rhos: Annotated[tuple[float, ...], Between("(0, 1)", why="At 1 it never forgets a gradient.")] = (0.5, 0.9, 0.99)
    """Momentum constants, pure numbers in (0, 1)."""
    shown_rho: float = 0.9
    """The one of them whose gain is drawn."""
    learning_rate: Positive = 0.1
    """Learning rate, in units of a step over a gradient; gains do not depend on it."""
    slope: Annotated[int, MultipleOf(PERIOD)] = 4096
    """Steps of gradient, a multiple of 64; as many without it follow."""
    num_chains: Annotated[int, MultipleOf(NUM_GROUPS)] = 400
    """Independent sequences of white noise, a multiple of 40."""
    seed: int = 0
    """Seeds the noise."""

    def __post_init__(self) -> None:
        if self.shown_rho not in self.rhos:
            raise fail("signal_response", f"shown_rho must be one of rhos, got {self.shown_rho} and {self.rhos}")
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
    on_slope = {"waves": waves, "noise": noise, "impulse": np.eye(1, config.slope)[0], "pushed": np.zeros(config.slope)}
    on_slope = jax.tree.map(jnp.asarray, on_slope)
    rows = []
    for method, rule in METHODS.items():
        steps: dict[str, jax.Array] = _respond(rule, jnp.asarray(config.rhos), config.learning_rate, on_slope)
        for k, rho in enumerate(config.rhos):
            moves = {name: -np.asarray(values[k], float) / config.learning_rate for name, values in steps.items()}
            # The averaged rule multiplies the gradient by 1 - rho itself.
            effective = config.learning_rate * (1.0 if method == "averaged" else 1 / (1 - rho))
            rows.append({"method": method, "rho": rho, "learning_rate": config.learning_rate,
                         "effective_rate": effective, "frequency": frequencies}
                        | _answers(config, frequencies, moves))  # fmt: skip
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Gains for constant, alternating and noisy gradients; speed; coasting; a first velocity; the weights."""
    heavy, nesterov, averaged = rows.where(rho=config.shown_rho)
    return [
        *_gains(heavy), *_gains(nesterov),
        *(_every_frequency(rows.where(method=row["method"])) for row in (heavy, nesterov)),
        *_motion(heavy, heavy["rho"]),
        relative(f"The velocity is no weighted average: its weights add up to 1 / (1 - rho) at rho = {heavy['rho']:g}",
                 "sum of the weights of past gradients", float(law.constant_gain(heavy["rho"])),
                 heavy["sum_of_weights"], 1e-8, reference=SERIES),
        relative(f"With v <- rho v + (1 - rho) g it is an average at rho = {averaged['rho']:g}",
                 "sum of the weights of past gradients", 1.0, averaged["sum_of_weights"], 1e-8, reference=SERIES),
        _every_rho(rows.where(method="heavy ball")),
    ]  # fmt: skip


def _gains(row: Row) -> list[Verdict]:
    rho, ahead, who = row["rho"], _ahead(row), f"{row['method']}, rho = {row['rho']:g}"
    # What is left of the start after `slope` steps is rho^slope < 1e-9 of the whole; so for all that follows but noise.
    return [
        relative(f"A slope is amplified 1 / (1 - rho) times ({who})", "step over SGD's step, constant gradient",
                 float(law.constant_gain(rho)), row["gain"][0], 1e-8, reference=REFERENCE),
        relative(f"A zig-zag is {'amplified' if ahead else 'halved at best'} ({who})",
                 "step over SGD's step, alternating gradient", float(law.alternating_gain(rho, ahead)),
                 row["gain"][-1], 1e-8, reference=REFERENCE),
        within(f"White noise is amplified, less than a slope ({who})", "variance of a step over SGD's",
               float(law.noise_gain(rho, ahead)), row["noise_gain"], row["noise_gain_error"],
               reference="sum of the squared impulse response"),
    ]  # fmt: skip


def _every_frequency(rows: Rows) -> Verdict:
    errors = [row["gain"] / law.transfer_gain(row["frequency"], row["rho"], _ahead(row)) - 1 for row in rows]
    # The smallest gain, 1/2, is 200 times below the largest, so that what is left of the start weighs 200 times more.
    return absolute(f"{rows[0]['method']} answers every frequency by its transfer function",
                    f"largest relative error of {len(rows)} x {PERIOD // 2 + 1} gains", 0.0,
                    float(np.abs(errors).max()), 1e-6, reference=REFERENCE)  # fmt: skip


def _motion(row: Row, rho: float) -> list[Verdict]:
    return [
        absolute(f"Velocity builds up to 90 % in ln 0.1 / ln rho steps, rho = {rho:g}",
                 "first step at 90 % of the limit", float(np.ceil(law.steps_to_speed(0.9, rho))),
                 row["steps_to_90"], unit="steps", reference=SERIES),
        relative(f"Without a gradient a run coasts rho / (1 - rho) last steps, no further, rho = {rho:g}",
                 "distance over the last step", float(law.coasting_distance(1.0, rho)), row["coasting"], 1e-8,
                 unit="steps", reference=SERIES),
        relative(f"A first velocity of 1 only adds a displacement, rho = {rho:g}", "total displacement on flat ground",
                 -float(law.initial_velocity_displacement(1.0, 1.0, rho)), row["displacement"], 1e-8,
                 unit="learning rates", reference=SERIES),
    ]  # fmt: skip


def _every_rho(rows: Rows) -> Verdict:
    laws = {"coasting": law.mean_gradient_age, "displacement": law.mean_gradient_age,
            "sum_of_weights": law.constant_gain, "number_averaged": law.effective_number_averaged}  # fmt: skip
    errors = [abs(row[name] / float(exact(row["rho"])) - 1) for row in rows for name, exact in laws.items()]
    late = [row["steps_to_90"] - np.ceil(law.steps_to_speed(0.9, row["rho"])) for row in rows]
    return absolute("So it is at every rho: coasting, first velocity, weights, gradients averaged, steps to 90 %",
                    f"largest relative error at rho = {', '.join(str(row['rho']) for row in rows)}", 0.0,
                    max(*errors, *np.abs(late)), 1e-8, reference=SERIES)  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Gain against frequency for one rho (above), and how speed builds up for all of them (below)."""
    figure, (gains, speeds) = maker.axes(2, 1, height=7.2)
    rho, dense = config.shown_rho, np.linspace(0, np.pi, 400)
    for color, row in enumerate(rows.where(rho=rho)[:2]):
        exact = law.transfer_gain(dense, rho, _ahead(row))
        maker.predicted(gains, dense / np.pi, exact, color=color, label=row["method"])
        maker.measured(gains, row["frequency"] / np.pi, row["gain"], color=color)
        place = (-4, 10) if exact[-1] > 1 else (-4, -16)  # on the side of 1, away from the falling curve
        gains.annotate(
            f"zig-zag: x {exact[-1]:.2f}", (1, exact[-1]), xytext=place, textcoords="offset points", ha="right"
        )
    maker.predicted(gains, [0, 1], [1, 1], color=6, label="plain SGD", linestyle=":")
    steady = law.constant_gain(rho)
    gains.annotate(f"slope: x {steady:.3g}", (0, steady), xytext=(10, -4), textcoords="offset points")
    gains.set(yscale="log", xlabel="frequency of the gradient: 0 constant, 1 alternating",
              ylabel="step over SGD's step",
              title=f"Gain at rho = {rho:g}", ylim=(0.6 * law.transfer_gain(np.pi, rho, 0.0), None))  # fmt: skip
    steps = np.arange(1, 81)
    for color, row in enumerate(rows.where(method="heavy ball"), start=2):
        exact = law.speed_fraction(steps, row["rho"])
        maker.predicted(speeds, steps, exact, color=color, label=f"rho = {row['rho']:g}")
        maker.measured(speeds, steps[1::4], row["speed"][1 : len(steps) : 4] * (1 - row["rho"]), color=color)
    speeds.axhline(0.9, color=maker.color(6), linewidth=0.8, linestyle=":")
    speeds.set(xlabel="steps on a constant slope", ylabel="speed over its limit", ylim=(0, 1.05),
               title="Building up speed; dotted: 90 %")  # fmt: skip
    return figure


def slider(config: Config, rows: Rows) -> dict[str, Any]:
    """Gain against frequency, at every rho."""
    runs = [
        (color, row) for color, method in enumerate(("heavy ball", "Nesterov")) for row in rows.where(method=method)
    ]
    return sliders.slider(
        "transfer_gain", x=sliders.axis("frequency of the gradient: 0 constant, 1 alternating", 0, 1),
        y=sliders.axis("step over plain SGD's step", 0.3, 1000, log=True),
        dots=[sliders.dots(f"{row['method']}, measured", row["frequency"] / np.pi, row["gain"], color=color,
                           rho=float(row["rho"])) for color, row in runs],
    )  # fmt: skip


def caption(config: Config, rows: Rows) -> str:
    heavy, nesterov, _ = rows.where(rho=config.shown_rho)
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


def _answers(config: Config, frequencies: np.ndarray, moves: dict[str, np.ndarray]) -> dict[str, Any]:
    times = np.arange(config.slope)[-PERIOD:, None]
    wave = (moves["waves"][-PERIOD:] * np.exp(-1j * frequencies * times)).mean(0)
    strength = np.where((frequencies == 0) | (frequencies == np.pi), 1.0, 2.0)  # a cosine is half of a wave
    settled = moves["noise"][config.slope // 4 :]
    noise = mean_of_samples(np.square(settled).reshape(len(settled), NUM_GROUPS, -1).mean((0, 2)))
    speed, weights = moves["waves"][:, 0], moves["impulse"]
    return {
        "gain": strength * np.abs(wave), "noise_gain": noise.value, "noise_gain_error": noise.standard_error,
        "sum_of_weights": weights.sum(), "number_averaged": weights.sum() ** 2 / np.square(weights).sum(),
        "speed": speed[:200], "steps_to_90": int(np.argmax(speed >= 0.9 * speed[-1])) + 1,
        "coasting": moves["coasting"].sum() / speed[-1], "displacement": moves["pushed"].sum(),
    }  # fmt: skip


def _ahead(row: Row) -> float:
    return row["rho"] if row["method"] == "Nesterov" else 0.0


if __name__ == "__main__":
    raise SystemExit(main())
