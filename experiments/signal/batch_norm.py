"""What does batch normalization do to activations, gradients and steps?

What the lecture says: it will "force all of the intermediate activations to be zero-mean and unit variance", after
which one may "reintroduce these scale and shift parameters".

What is true: the first is exact, and has consequences of its own. The loss no longer depends on the length of the
weights before it: their gradient is orthogonal to them, at twice the weights half as large, and the curvature a
quarter; with weight decay the weights turn by arccos(1 - lr wd), about sqrt(2 lr wd), a step, whatever the loss. And
it does not keep the gradient at the initialization: in a random network of ReLU it makes the squared gradient pi /
(pi - 1) = 1.467 times larger with every layer, where He's rule without it keeps it.

The statistics are those of a batch: a value keeps a correlation of sqrt(2 / b) Gamma(b / 2) / Gamma((b - 1) / 2) with
itself, .99 at 64 examples and .56 at two, which become +1 and -1 whatever they were. On digits a network of batches of
two hardly learns, one of eight has several times the loss in training mode that it has in evaluation, one of 64 the
same in both. The scale is worth a third of the training loss, the shift less, both next to nothing on held-out data.

Source: Yang et al. 2019, arXiv 1902.08129, for the growth; Wan et al. 2021, arXiv 2006.08419, for the angle. What the
normalization does to the spectrum of the Hessian is in conditioning/network_spectra. All bounds on the trained networks
are from seed 11.
"""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxopt_lab import datasets, networks, problems, theory
from jaxopt_lab.core import Verdict, mean_of_samples
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Between, Count, Increasing, NotEmpty, Positive, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import at_least, at_most, everywhere, within

YANG, WAN = "Yang et al. 2019, arXiv 1902.08129", "Wan et al. 2021, arXiv 2006.08419"
CHANCE, TRAINED, MODES = float(np.log(10)), 1000, ("training", "whole", "evaluation", "held_out")
AFFINE = {"scale and shift": (1.0, 1.0), "shift alone": (0.0, 1.0), "scale alone": (1.0, 0.0), "neither": (0.0, 0.0)}
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
    kept_sizes: Annotated[tuple[int, ...], Whole(2), NotEmpty("batch size")] = (2, 4, 16, 256)
    """Batch sizes at which one layer's outputs are compared with the true values."""
    trained_sizes: Annotated[tuple[int, ...], Whole(2), Increasing("hold three batch sizes", least=3)] = (2, 8, 64)
    """Batch sizes of the trained networks: tiny, small, usual."""
    examples: Annotated[int, Whole(1000)] = 16_000
    """Digits that a trained network sees, of 1,000 with repetitions,"""
    most_steps: Count = 1500
    """in so many steps at most."""
    num_networks: Annotated[int, Whole(2)] = 3
    """Trained networks of each kind."""
    seed: Seed = 0
    """Seeds everything."""


PRESETS = {
    "quick": Config(),
    "full": Config(width=1000, depth=50, batch_size=1024, num_draws=20, decays=(1e-4, 1e-3, 1e-2, 0.1),
                   trained_sizes=(2, 8, 64, 256), examples=128_000, most_steps=16_000,
                   num_networks=8),
}  # fmt: skip


def run(config: Config) -> list[dict[str, Any]]:
    """One row of the moments, one a scale, one a kind of random network, one a decay."""
    rows = [_moments(config), *_scales(config)]
    rows += [_growth(config, normalized) for normalized in (True, False)]
    rows += [_angle(config, decay) for decay in config.decays] + [_kept(config, size) for size in config.kept_sizes]
    return rows + [row for size in config.trained_sizes for row in _trained(config, size)]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The moments, the scale, the growth of the gradient and the angle."""
    moments, scales = rows.only(kind="moments"), rows.where(kind="scale")
    normalized, plain = (rows.only(kind="growth", normalized=each) for each in (True, False))
    tiny, small, usual = (rows.only(kind="trained", batch_size=size, affine="scale and shift")
                          for size in config.trained_sizes[:3])  # fmt: skip
    fixed = {name: rows.only(kind="trained", batch_size=usual["batch_size"], affine=name) for name in AFFINE}
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
        everywhere("A batch of b keeps the correlation sqrt(2 / b) Gamma(b / 2) / Gamma((b - 1) / 2)",
                   "correlation of outputs and values, b = {batch_size}", rows.where(kind="kept"), "correlation",
                   "predicted", errors="error", reference="mean of a chi distribution"),
        at_least("A network hardly learns from batches of two", "loss in evaluation mode over that of chance", 0.3,
                 tiny["evaluation"] / CHANCE, reference="outputs are +1 and -1"),
        at_least("From small batches training mode shows a loss that evaluation does not have",
                 f"ratio of the two, batches of {small['batch_size']}", 2.0, small["training"] / small["evaluation"],
                 reference="noise of the statistics"),
        at_most("At a usual batch size the running statistics do as well",
                f"evaluation over all data's statistics, batches of {usual['batch_size']}", 1.2,
                usual["evaluation"] / usual["whole"], reference="noise of the statistics"),
        at_least("The scale is worth some of the training loss", "loss with the shift alone over that with both", 1.15,
                 fixed["shift alone"]["whole"] / usual["whole"], reference="seed 11 gave 1.4"),
        at_most("the shift less", "loss without shift over that without scale", 1.0,
                fixed["scale alone"]["whole"] / fixed["shift alone"]["whole"], reference="seed 11 gave .75"),
        at_most("and both next to nothing on held-out data", "loss with neither over that with both", 1.2,
                fixed["neither"]["held_out"] / usual["held_out"], reference="seed 11 gave 1.05"),
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


def _kept(config: Config, size: int) -> Row:
    """How much the outputs of Flax's layer still are the Gaussian values that went in."""
    values = jax.random.normal(jax.random.key(config.seed), (size, max(200_000 // size, 1000)))
    layer = nnx.BatchNorm(values.shape[1], use_running_average=False, epsilon=1e-12, dtype=values.dtype,
                          param_dtype=values.dtype, rngs=nnx.Rngs(0))  # fmt: skip
    nnx.update(layer, jax.tree.map(lambda leaf: leaf.astype(values.dtype), nnx.state(layer)))
    measured = mean_of_samples(np.asarray(layer(values) * values).mean(0))  # units are independent
    return {"kind": "kept", "batch_size": size, "correlation": measured.value, "error": measured.standard_error,
            "predicted": float(theory.batch_norm.kept_correlation(size))}  # fmt: skip


def _trained(config: Config, size: int) -> list[Row]:
    """Perceptrons trained on batches of one size: losses with the statistics of batches, of all data, and running."""
    images = datasets.load_images("digits")[0]
    pixels, labels = images.pixels.reshape(len(images), -1) / images.white, jnp.asarray(images.labels)
    inputs = jnp.asarray(datasets.fit_scaling("standardize", pixels, constant="keep")(pixels))
    streams = [nnx.Rngs(config.seed + place) for place in range(config.num_networks)]
    drawn = [
        networks.functional_nnx(networks.MLP(64, 10, width=32, depth=2, norm="batch", rngs=each)) for each in streams
    ]
    model, steps = drawn[0], min(config.examples // size, config.most_steps)

    def loss(params: Any, state: Any, rows: jax.Array, training: bool) -> tuple[jax.Array, Any]:
        outputs, after = model.apply(params, state, inputs[rows], training=training)
        return optax.softmax_cross_entropy_with_integer_labels(outputs, labels[rows]).mean(), after

    def descend(params: Any, rates: tuple[jax.Array, jax.Array], key: jax.Array) -> list[jax.Array]:
        by_name = {"scale": rates[0], "bias": rates[1]}

        def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
            rows = jax.random.randint(key, (size,), 0, TRAINED)
            grads, after = jax.grad(loss, has_aux=True)(*carry, rows, True)
            for part in grads["norms"].values():
                part.update({name: by_name[name] * leaf for name, leaf in part.items()})
            return (jax.tree.map(lambda leaf, grad: leaf - 0.1 * grad, carry[0], grads), after), None

        (params, state), _ = jax.lax.scan(step, (params, model.model_state), jax.random.split(key, steps))
        batches = jax.random.randint(key, (500, size), 0, TRAINED)
        train, held = jnp.arange(TRAINED), jnp.arange(TRAINED, len(labels))
        return [jax.vmap(lambda rows: loss(params, state, rows, True)[0])(batches).mean(),
                loss(params, state, train, True)[0], loss(params, state, train, False)[0],
                loss(params, state, held, False)[0]]  # fmt: skip

    keys = jax.random.split(jax.random.key(config.seed), len(drawn))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(form.params for form in drawn))
    run_all = jax.jit(jax.vmap(descend, in_axes=(0, None, 0)))
    kinds = AFFINE if size == config.trained_sizes[2] else {"scale and shift": (1.0, 1.0)}
    return [{"kind": "trained", "batch_size": size, "affine": kind}
            | {name: float(np.mean(each)) for name, each in zip(MODES, run_all(stacked, rates, keys), strict=True)}
            for kind, rates in kinds.items()]  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
