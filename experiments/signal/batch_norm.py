"""What does batch normalization do to activations, gradients and steps?

What the lecture says: it will "force all of the intermediate activations to be zero-mean and unit variance", after
which one may "reintroduce these scale and shift parameters".

What is true: the first is exact, and has consequences of its own. The loss no longer depends on the length of the
weights before it: their gradient is orthogonal to them, at twice the weights half as large, and the curvature a
quarter; with weight decay the weights turn by arccos(1 - lr wd), about sqrt(2 lr wd), a step, whatever the loss. And
it does not keep the gradient at the initialization: in a random network of ReLU it makes the squared gradient pi /
(pi - 1) = 1.467 times larger with every layer, where He's rule without it keeps it.

Source: Yang et al. 2019, arXiv 1902.08129, for the growth; Wan et al. 2021, arXiv 2006.08419, for the angle. What the
normalization does to the spectrum of the Hessian is in conditioning/network_spectra.
"""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxopt_lab import problems, theory
from jaxopt_lab.core import Verdict, mean_of_samples
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Between, Count, NotEmpty, Positive, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import at_most, everywhere, within

YANG, WAN = "Yang et al. 2019, arXiv 1902.08129", "Wan et al. 2021, arXiv 2006.08419"
SETTLING = 5  # layers next to the loss whose factor is not counted; they see its direction


@configclass
class Config:
    """All that can change a number."""

    input_mean: float = 50.0
    """Mean of the inputs of one normalized layer, in deviations."""
    scales: Annotated[tuple[Positive, ...], NotEmpty("scale")] = (0.5, 2.0, 8.0)
    """By how much the first layer's weights of a network on digits are multiplied."""
    width: Annotated[int, Whole(20)] = 400
    """Units of the random networks."""
    depth: Annotated[int, Whole(10)] = 20
    """Their layers."""
    batch_size: Annotated[int, Whole(16)] = 256
    """Examples that the random networks normalize over."""
    num_draws: Annotated[int, Whole(4)] = 6
    """Random networks."""
    decays: Annotated[tuple[float, ...], NotEmpty("decay"), Between("[1e-4, 0.1]")] = (1e-3, 1e-2)
    """Learning rates times weight decay."""
    dim: Count = 200
    """Weights of the scale-invariant loss with noise only."""
    seed: Seed = 0
    """Seeds everything."""


PRESETS = {"quick": Config(), "full": Config(width=1000, depth=50, batch_size=1024, num_draws=20,
                                             decays=(1e-4, 1e-3, 1e-2, 0.1))}  # fmt: skip


def run(config: Config) -> list[dict[str, Any]]:
    """One row of the moments, one a scale, one a kind of random network, one a decay."""
    rows = [_moments(config), *_scales(config)]
    rows += [_growth(config, normalized) for normalized in (True, False)]
    return rows + [_angle(config, decay) for decay in config.decays]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The moments, the scale, the growth of the gradient and the angle."""
    moments, scales = rows.only(kind="moments"), rows.where(kind="scale")
    normalized, plain = (rows.only(kind="growth", normalized=each) for each in (True, False))
    return [
        at_most("Batch normalization makes mean 0", "largest |mean| of a unit", 1e-6, moments["mean"],
                reference="exact, up to rounding of inputs with a large mean"),
        at_most("and variance 1", "largest |variance - 1| of a unit", 2e-5, moments["variance"],
                reference="exact, up to Flax's epsilon of 1e-5"),
        # epsilon beside the variance of the pre-activations, which falls with the scale squared
        at_most("The gradient is orthogonal to the weights before it", "largest |cosine|", 1e-3, max(scales["cosine"]),
                reference="the loss does not depend on their length"),
        everywhere("At a times the weights the gradient is 1 / a", "ratio of norms at a = {scale:g}", scales,
                   "gradient", "gradient_law", relatively=0.01, reference="the loss does not depend on their length"),
        everywhere("and the curvature 1 / a^2", "ratio of products with H at a = {scale:g}", scales,
                   "curvature", "curvature_law", relatively=0.01, reference="the loss does not depend on their length"),
        # beside four standard errors what a finite batch and width leave, some 1 / sqrt(batch) of the excess
        within("In a random network it makes the squared gradient pi / (pi - 1) times larger a layer",
               f"mean factor a layer, {config.depth} layers", theory.batch_norm.gradient_growth(), normalized["factor"],
               normalized["error"], beyond=0.03, reference=YANG),
        within("where He's rule without it keeps the gradient", "mean factor a layer", 1.0, plain["factor"],
               plain["error"], beyond=0.03, reference="theory.mean_field"),
        # The lengths of the noise scatter by 1 / sqrt(2 dim) about their mean.
        everywhere("With weight decay the weights turn by arccos(1 - lr wd) a step", "angle at lr wd = {decay:g}",
                   rows.where(kind="angle"), "angle", "predicted", relatively=0.01, unit="radians", reference=WAN),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Squared gradient by layer, with and without normalization; lines by law."""
    figure, axes = maker.axes(height=4.2)
    layers = np.arange(config.depth)
    for color, row in enumerate(rows.where(kind="growth")):
        law = theory.batch_norm.gradient_growth() if row["normalized"] else 1.0
        level = row["squares"][SETTLING] / law**SETTLING
        name = "batch\nnormalization" if row["normalized"] else "He's rule\nalone"
        maker.predicted(axes, layers, level * law**layers, color=color, label=name)
        maker.measured(axes, layers, row["squares"], color=color)
    axes.set(yscale="log", xlim=(0, 1.3 * config.depth), xlabel="layers back from the loss",
             ylabel="squared gradient, over the first", title="The gradient explodes, 1.467 a layer")  # fmt: skip
    return figure


def caption(config: Config, rows: Rows) -> str:
    normalized, plain = (rows.only(kind="growth", normalized=each)["factor"] for each in (True, False))
    return (
        f"Batch normalization makes the squared gradient of a random ReLU network {normalized:.3f} times larger a layer"
        f" (pi / (pi - 1) = {theory.batch_norm.gradient_growth():.3f}), He's rule alone {plain:.3f} times."
    )


def _moments(config: Config) -> Row:
    """The outputs of Flax's layer on inputs far from 0."""
    inputs = config.input_mean + jax.random.normal(jax.random.key(config.seed), (config.batch_size, 32))
    layer = nnx.BatchNorm(32, use_running_average=False, param_dtype=inputs.dtype, rngs=nnx.Rngs(0))
    # Flax keeps the running statistics in float32
    nnx.update(layer, jax.tree.map(lambda leaf: leaf.astype(inputs.dtype), nnx.state(layer)))
    outputs = np.asarray(layer(inputs))
    return {"kind": "moments", "mean": float(np.abs(outputs.mean(0)).max()),
            "variance": float(np.abs(outputs.var(0) - 1).max())}  # fmt: skip


def _scales(config: Config) -> list[Row]:
    """Gradient and curvature by the first layer's weights, of which the largest leaf of a perceptron holds them."""
    problem = problems.load_problem("digits-mlp", width=8, depth=1, norm="batch", num_examples=200)
    leaves, tree = jax.tree.flatten(problem.init(jax.random.key(config.seed)))
    place = max(range(len(leaves)), key=lambda index: leaves[index].size)

    def loss(weights: jax.Array) -> jax.Array:
        return problem.full_loss(jax.tree.unflatten(tree, [*leaves[:place], weights, *leaves[place + 1 :]]))

    direction = jax.random.normal(jax.random.key(config.seed + 1), leaves[place].shape)

    @jax.jit
    def measure(weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.jvp(jax.grad(loss), (weights,), (direction,))

    gradient, product = measure(leaves[place])
    rows = []
    for scale in config.scales:
        weights = scale * leaves[place]
        own, curved = measure(weights)
        cosine = jnp.vdot(weights, own) / jnp.linalg.norm(weights) / jnp.linalg.norm(own)
        rows.append({"kind": "scale", "scale": scale, "cosine": abs(float(cosine)),
                     "gradient": float(jnp.linalg.norm(own) / jnp.linalg.norm(gradient)), "gradient_law": 1 / scale,
                     "curvature": float(jnp.linalg.norm(curved) / jnp.linalg.norm(product)),
                     "curvature_law": scale**-2})  # fmt: skip
    return rows


def _growth(config: Config, normalized: bool) -> Row:
    """Mean squares of the gradient by the values that enter each layer, going back from a random one."""

    def layer(values: jax.Array, weights: jax.Array) -> jax.Array:
        values = values @ weights
        if normalized:
            values = (values - values.mean(0)) / jnp.sqrt(values.var(0) + 1e-5)
        return jax.nn.relu(values)

    @jax.jit
    def squares(key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, config.depth + 2)
        matrices = jax.vmap(lambda k: jax.random.normal(k, (config.width, config.width)))(keys[2:])
        matrices = matrices * np.sqrt(2 / config.width)
        start = jax.random.normal(keys[0], (config.batch_size, config.width))
        _, values = jax.lax.scan(lambda value, weights: (layer(value, weights), value), start, matrices)
        back = lambda grad, at: (jax.vjp(layer, *at)[1](grad)[0],) * 2  # noqa: E731
        _, grads = jax.lax.scan(back, jax.random.normal(keys[1], start.shape), (values, matrices), reverse=True)
        return jnp.square(grads[::-1]).mean((1, 2))

    drawn = np.log([squares(jax.random.key(config.seed + place)) for place in range(config.num_draws)])
    counted = drawn[:, SETTLING:-1]  # the inputs of the first layer do not come from a ReLU
    factor = mean_of_samples(np.exp((counted[:, -1] - counted[:, 0]) / (counted.shape[1] - 1)))
    return {"kind": "growth", "normalized": normalized, "factor": factor.value, "error": factor.standard_error,
            "squares": np.exp((drawn - drawn[:, :1]).mean(0))}  # fmt: skip


def _angle(config: Config, decay: float) -> Row:
    """The mean angle of a step on a scale-invariant loss of pure noise, at learning rate 1, once it has settled."""
    steps = round(20 / decay)

    def step(weights: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        noise = jax.random.normal(key, weights.shape)
        gradient = noise - (noise @ weights) / (weights @ weights) * weights
        after = (1 - decay) * weights - gradient / jnp.linalg.norm(weights)
        cosine = after @ weights / jnp.linalg.norm(after) / jnp.linalg.norm(weights)
        return after, jnp.arccos(cosine)

    start = jnp.full((config.dim,), (2 * decay / config.dim) ** -0.25 / config.dim**0.5)
    _, angles = jax.lax.scan(step, start, jax.random.split(jax.random.key(config.seed), steps))
    return {"kind": "angle", "decay": decay, "angle": float(angles[steps // 2 :].mean()),
            "predicted": float(theory.batch_norm.equilibrium_angle(decay))}  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
