"""Which activations let a gradient through many layers?

What the lecture says: the sigmoid "has this problem with vanishing gradients"; "tanh has this similar sort of problem";
"you probably wanna stick with ReLU".

What is true: right for the sigmoid at the usual scales of the weights: each layer takes 76 % of the gradient, ten
leave 5e-7. Tanh has no similar problem where the weights have Xavier's variance: its gradient falls as a power of the
depth. ReLU with He's variance keeps it; GELU, SiLU and ELU lose a tenth to a quarter a layer. The factor of every
layer is the mean-field one, chi = weight variance E[a'^2], with nothing fitted. A network trains down to a depth of
about 6 xi, where xi = -1 / ln chi: 2.1 layers for the sigmoid, which stops at 4, whatever the learning rate; tanh and
ReLU at their critical scales train at 16 layers.

Source: Poole et al. 2016, arXiv 1606.05340; Schoenholz, Gilmer, Ganguli, Sohl-Dickstein 2017, arXiv 1611.01232.
"""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab import networks, problems, rules, theory, training
from jaxopt_lab.core import Verdict, mean_of_samples
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Count, Increasing, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, at_least, at_most, everywhere

VARIANCES = {"sigmoid": 1.0, "tanh": 1.0, "relu": 2.0, "gelu": 2.0, "silu": 2.0, "elu": 1.0}
POOLE, SCHOENHOLZ = "Poole et al. 2016, arXiv 1606.05340", "Schoenholz et al. 2017, arXiv 1611.01232"
RATES = np.geomspace(0.01, 3.0, 6)
CHANCE = float(np.log(10))


@configclass
class Config:
    """All that can change a number. Weights are Gaussian, of Xavier's or He's variance, and biases zero."""

    width: Annotated[int, Whole(50)] = 1000
    """Units in each layer of the random networks."""
    depth: Annotated[int, Whole(2)] = 10
    """Their layers."""
    num_draws: Annotated[int, Whole(5)] = 10
    """Random networks of each activation."""
    sigmoid_depths: Annotated[tuple[int, ...], Increasing("hold at least two depths that increase")] = (2, 3, 4)
    """Hidden layers of the trained sigmoid networks."""
    deep: Annotated[int, Whole(4)] = 16
    """Hidden layers of the trained networks of tanh and ReLU."""
    trained_width: Annotated[int, Whole(4)] = 32
    """Units in each layer of the trained networks."""
    steps: Count = 300
    """Steps of training, 50 of 500 digits each."""
    seed: Seed = 0
    """Seeds everything."""


PRESETS = {"quick": Config(), "full": Config(num_draws=50, depth=30, deep=32, steps=1000, trained_width=64,
                                             sigmoid_depths=(1, 2, 3, 4, 5, 6, 8))}  # fmt: skip


def run(config: Config) -> list[dict[str, Any]]:
    """One row an activation; then one a trained network."""
    rows = [_random(config, activation) for activation in VARIANCES]
    deep = [(name, config.deep) for name in ("tanh", "relu")]
    trained = [("sigmoid", depth) for depth in config.sigmoid_depths] + deep
    return rows + [_trained(config, activation, depth) for activation, depth in trained]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The factor of a layer; ten sigmoid layers; tanh against sigmoid; what trains."""
    random = rows.where(kind="random")
    left = {row["activation"]: row["left"] for row in random}
    sigmoid = theory.mean_field.mean_field_factor("sigmoid", 1.0).factor
    stop = _stop(config, rows)
    return [
        everywhere("Every layer changes the gradient by the mean-field factor",
                   f"mean ln of the norm's factor a layer, {{activation}}, {config.depth} layers", random, "log_factor",
                   "predicted", errors="error", reference=POOLE),
        # the first layers are not at the fixed point yet: half a layer's factor
        absolute(f"{config.depth} sigmoid layers leave .2361^{config.depth} of the gradient", "log10 of what is left",
                 float(config.depth * np.log10(sigmoid) / 2), float(np.log10(left["sigmoid"])), 0.32, reference=POOLE),
        at_least("Tanh has no similar problem at Xavier's scale", "what it leaves over what the sigmoid leaves", 1e4,
                 left["tanh"] / left["sigmoid"], reference=POOLE),
        # The guess before the run was that they leave as much as ReLU, up to a factor of 10; SiLU left 14 times less.
        at_least("With He's variance SiLU loses some of the gradient that ReLU keeps",
                 f"what {config.depth} layers of ReLU leave over SiLU's", 2.0, left["relu"] / left["silu"],
                 reference="mean field: q falls, and with it the slope"),
        # 6 xi is a rule of thumb for long training: a factor of two on either side
        absolute("Sigmoid networks stop to train at a depth of about 6 xi, up to a factor of 2",
                 "log2 of the first depth that does not train over 6 xi", 0.0,
                 float(np.log2(stop / (6 * theory.mean_field.depth_scale(sigmoid)))), 1.0, reference=SCHOENHOLZ),
        at_most(f"Tanh and ReLU train at {config.deep} layers", "larger of the two losses over that of chance", 0.5,
                max(rows.where(kind="trained", depth=config.deep, activation=lambda name: name != "sigmoid")["loss"])
                / CHANCE, reference=SCHOENHOLZ),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Gradient norm by layer, going back, lines by mean field; below, the loss that training reaches."""
    figure, (top, bottom) = maker.axes(2, height=7.4)
    layers = np.arange(config.depth + 1)
    for color, row in enumerate(rows.where(kind="random")):
        maker.predicted(top, layers, row["law"], color=color, label=row["activation"])
        maker.measured(top, layers, row["norms"], color=color)
    top.set(yscale="log", xlim=(0, 1.3 * config.depth), xlabel="layers back", ylabel="norm of the gradient",
            title=f"Ten sigmoid layers leave {_ten(rows):.0e}")  # fmt: skip
    for color, activation in enumerate(("sigmoid", "tanh", "relu")):
        own = rows.where(kind="trained", activation=activation)
        maker.measured(bottom, own["depth"], own["loss"], color=color, markersize=7, label=activation)
    depth = float(6 * theory.mean_field.depth_scale(theory.mean_field.mean_field_factor("sigmoid", 1.0).factor))
    bottom.axvline(depth, color=maker.color(0), linestyle=":")
    maker.label(bottom, depth, 1.2, "6 xi of\nthe sigmoid", color=0)
    bottom.axhline(CHANCE, color="grey", linestyle=":", linewidth=0.9)
    bottom.set(xlim=(0, 1.2 * config.deep), ylim=(-0.1, 2.6), xlabel="hidden layers",
               ylabel=f"loss after {config.steps} steps", title="The sigmoid stops to train, at any rate")  # fmt: skip
    return figure


def caption(config: Config, rows: Rows) -> str:
    losses = rows.where(kind="trained", depth=config.deep, activation=lambda name: name != "sigmoid")["loss"]
    return (
        f"Each sigmoid layer multiplies the gradient by {_ten(rows) ** (1 / 10):.3f}, tanh and ReLU layers at their"
        f" critical scales keep it or nearly so: sigmoid networks stop to train at {_stop(config, rows):g} hidden"
        f" layers, tanh and ReLU reach losses of {losses[0]:.3f} and {losses[1]:.3f} with {config.deep}."
    )


def _ten(rows: Rows) -> float:
    """What ten sigmoid layers leave."""
    return float(np.exp(10 * rows.only(kind="random", activation="sigmoid")["log_factor"]))


def _stop(config: Config, rows: Rows) -> float:
    """The first depth at which sigmoid networks end above half of chance's loss; twice the last one if none does."""
    stopped = [row["depth"] for row in rows.where(kind="trained", activation="sigmoid") if row["loss"] > CHANCE / 2]
    return float(min(stopped, default=2 * config.sigmoid_depths[-1]))


def _random(config: Config, activation: str) -> Row:
    """Gradient norms through random layers, from the last pre-activation back to the first."""
    function, variance = networks.resolve_activation(activation), VARIANCES[activation]
    slope = jax.vmap(jax.grad(function))

    @jax.jit
    def norms(key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, config.depth + 2)
        weights = jax.vmap(lambda k: jax.random.normal(k, (config.width, config.width)))(keys[2:])
        weights = weights * jnp.sqrt(variance / config.width)
        forward = lambda values, matrix: (matrix @ function(values), values)  # noqa: E731
        last, values = jax.lax.scan(forward, jax.random.normal(keys[0], (config.width,)), weights)
        back = lambda grad, at: (slope(at[0]) * (at[1].T @ grad),) * 2  # noqa: E731
        start = jax.random.normal(keys[1], last.shape)
        _, grads = jax.lax.scan(back, start, (values, weights), reverse=True)
        return jnp.linalg.norm(grads[::-1], axis=1) / jnp.linalg.norm(start)

    drawn = np.array([norms(jax.random.key(config.seed + place)) for place in range(config.num_draws)])
    factor = mean_of_samples(np.log(drawn[:, -1]) / config.depth)
    state, chis = 1.0, []
    for _ in range(config.depth):
        step = theory.mean_field.mean_field_step(activation, state, variance)
        state = float(step.variance)
        chis.append(float(step.factor))
    law = np.cumsum(np.concatenate([[0.0], 0.5 * np.log(chis[::-1])]))
    # The mean of a logarithm lies below the logarithm of the mean by up to 5 / (4 width) a layer (Hanin and Nica 2018).
    return {"kind": "random", "activation": activation, "weight_variance": variance, "log_factor": factor.value,
            "error": (factor.standard_error or 0.0) + 0.5 / config.width, "predicted": law[-1] / config.depth,
            "left": float(np.exp(config.depth * factor.value)), "law": np.exp(law),
            "norms": np.exp(np.log(np.column_stack([np.ones(len(drawn)), drawn])).mean(0))}  # fmt: skip


def _trained(config: Config, activation: str, depth: int) -> Row:
    """The smallest loss that one of the learning rates reaches."""
    problem = problems.load_problem("digits-mlp", width=config.trained_width, depth=depth, activation=activation,
                                    num_examples=500, initializer="lecun_normal",
                                    gain=VARIANCES[activation] ** 0.5)  # fmt: skip
    trace = training.run(problem, rules.sgd, {"learning_rate": RATES}, steps=config.steps, every=config.steps,
                         batch_size=50, seeds=config.seed)  # fmt: skip
    losses = np.nan_to_num(trace["loss"][:, -1], nan=np.inf)
    return {"kind": "trained", "activation": activation, "depth": depth, "loss": float(losses.min()),
            "learning_rate": float(RATES[losses.argmin()])}  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
