"""What are centred and scaled inputs worth to a network, and what happens to its units without?

What the lecture says: preprocess the data "so it has zero mean and unit variance"; else the loss is sensitive to "small
perturbations in the weight matrix of that layer".

What is true: right, and a mean costs more than a wrong scale. A mean of r deviations in every input makes the layer's
outputs 1 + r^2 times as sensitive to its weights, and the first layer's curvature is that of the inputs: its largest
eigenvalue grows with r^2 d. The mean also decides which units of ReLU live: a share E Phi(-r z)^n of them is off on all
n examples, 1 / (n + 1) at r = 1, as many are always on; centred inputs have 2^-n. Training a perceptron on digits takes
about twenty times the steps where r = 2, and several times where the pixels are raw, both through the largest
eigenvalue: the condition number, which standardizing divides by 26,000 on these digits, says what a linear model gains,
and a network gains far less. Whitening adds little to standardizing.

Source: LeCun, Kanter, Solla 1991, Phys. Rev. Lett. 66; Lu et al. 2019, arXiv 1903.06733, for networks that are born
dead; the share of dead units is derived here. How a line's error and loss react to its angle: signal/wiggling_line.
"""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab import core, problems, rules, theory, training
from jaxopt_lab.core import Verdict
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main, measures
from jaxopt_lab.studies.fields import Between, Count, Increasing, NotEmpty, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import at_least, at_most, everywhere

LECUN, LU = "LeCun, Kanter, Solla 1991", "Lu et al. 2019, arXiv 1903.06733"
RATES = np.geomspace(0.03, 3.0, 8)
TARGET = 0.3  # loss to which steps are counted; that of chance is 2.3
STARTS = {"relu": "he_normal", "tanh": "lecun_normal"}


@configclass
class Config:
    """All that can change a number."""

    ratios: Annotated[tuple[float, ...], Increasing("start with 0 and hold at least two", first=0.0)] = (0.0, 1.0, 3.0)
    """Mean of every input, in its standard deviations r."""
    num_examples: Annotated[tuple[Count, ...], NotEmpty("number")] = (3, 9, 99)
    """Examples n on which a unit may be off."""
    dim: Annotated[int, Whole(20)] = 400
    """Inputs of those units."""
    num_sets: Annotated[int, Whole(20)] = 200
    """Data sets, with 100 units each."""
    shapes: Annotated[tuple[tuple[int, int], ...], NotEmpty("shape")] = ((2, 9), (3, 9), (4, 19))
    """Width and hidden layers of the networks that may be born dead."""
    num_networks: Annotated[int, Whole(100)] = 4000
    """Random networks of each shape."""
    mean: Annotated[float, Between("[1, 100]")] = 2.0
    """Mean of every pixel of standardized digits, where it is spoiled, in deviations."""
    trained_width: Annotated[int, Whole(4)] = 32
    """Hidden units of the trained perceptrons."""
    trained_examples: Annotated[int, Whole(400, why="Fewer digits cannot be whitened.")] = 500
    """Digits that they learn."""
    steps: Count = 200
    """Steps of full-batch gradient descent at most."""
    num_seeds: Count = 1
    """Starts of each."""
    seed: Seed = 0
    """Seeds everything; the bounds on steps are from seeds 11 to 14."""


PRESETS = {
    "quick": Config(),
    "full": Config(num_sets=2000, num_networks=40_000, trained_width=64, num_seeds=3, trained_examples=1000, steps=600,
                   ratios=(0.0, 1.0, 3.0, 5.0)),
}  # fmt: skip


def run(config: Config) -> list[dict[str, Any]]:
    """One row a ratio and number of examples, one a ratio, one a shape, one a preprocessing and activation."""
    rng = np.random.default_rng(config.seed)
    rows = [_units(rng, config, ratio, num) for ratio in config.ratios for num in config.num_examples]
    rows += [_sensitivity(rng, config, ratio) for ratio in config.ratios]
    rows += [_born_dead(rng, config, *shape) for shape in config.shapes]
    prepared = [(kind, 0.0) for kind in ("raw", "centre", "standardize", "whiten")] + [("standardize", config.mean)]
    rows += [_trained(config, activation, *how) for activation in STARTS for how in prepared]
    return rows + _curvatures(config, prepared)


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Sensitivity, dead units, born-dead networks, curvature, steps."""
    trained = rows.where(kind="trained")
    far = _ratios(trained, ("standardize", config.mean), ("standardize", 0.0))
    raw = _ratios(trained, ("raw", 0.0), ("standardize", 0.0))
    white = _ratios(trained, ("standardize", 0.0), ("whiten", 0.0))
    return [
        everywhere("A layer with means of r deviations is 1 + r^2 times as sensitive to its weights",
                   "squared change over the outputs' variance, in that of the weights, r = {ratio:g}",
                   rows.where(kind="sensitivity"), "sensitivity", "predicted", errors="error", reference="exact"),
        everywhere("A share E Phi(-r z)^n of ReLU units is off on all n examples", "share at r = {ratio:g}, n = {num}",
                   rows.where(kind="units"), "dead", "predicted", errors="error", reference="derived here"),
        everywhere("and as many are always on", "share at r = {ratio:g}, n = {num}",
                   rows.where(kind="units"), "linear", "predicted", errors="error", reference="derived here"),
        everywhere("A narrow deep network is born dead with the chance 1 - (1 - 2^-N)^L",
                   "share of networks, width {width}, {depth} layers", rows.where(kind="born"), "dead", "predicted",
                   errors="error", reference=LU),
        # tanh of small numbers is the numbers, up to a third of their cube; their square is 1e-4
        everywhere("The first layer is as curved as the inputs' second moments",
                   "largest curvature over that of raw inputs, {scaling}, mean {offset:g}",
                   rows.where(kind="curvature"), "curvature", "predicted", relatively=0.02, reference=LECUN),
        # The largest eigenvalue limits the rate: at most so many times the steps, and, where the loss is no quadratic
        # and falls before it meets that limit, at least the root of it.
        everywhere(f"A mean of {config.mean:g} deviations costs the network what the largest eigenvalue says",
                 "ln of steps over standardized, over ln of the eigenvalue, {activation}", far, "exponent", "law",
                   absolutely=0.25,
                 reference="theory.rates, one rate for all directions"),
        at_least("Raw pixels cost several times the steps of standardized ones",
                 f"least ratio of steps to a loss of {TARGET}", 2.0, min(raw["ratio"]),
                 reference="half of what other seeds gave"),
        at_most("Whitening adds little to standardizing", "largest ratio of steps, standardized over whitened", 2.0,
                max(white["ratio"]), reference="other seeds gave 1.6"),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Share of dead units by the mean, lines by law; below, the loss of the perceptron by preprocessing."""
    figure, (top, bottom) = maker.axes(2, height=7.4)
    grid = np.linspace(0, config.ratios[-1], 60)
    for color, num in enumerate(config.num_examples):
        law = theory.preprocessing.dead_unit_share(grid, num)
        own = rows.where(kind="units", num=num)
        maker.predicted(top, grid, law, color=color, label=f"n = {num}")
        maker.measured(top, own["ratio"], own["dead"], color=color)
    top.set(yscale="log", xlim=(-0.1, 1.2 * config.ratios[-1]), ylim=(1e-5, 1), xlabel="mean of the inputs, deviations",
            ylabel="share of dead units", title="Means kill units of ReLU")  # fmt: skip
    for color, row in enumerate(rows.where(kind="trained", activation="relu")):
        name = f"mean {row['offset']:g}" if row["offset"] else _NAMES[row["scaling"]]
        maker.predicted(bottom, np.arange(len(row["curve"])), row["curve"], color=color, label=name)
    bottom.axhline(TARGET, color="grey", linestyle=":")
    maker.label(bottom, config.steps, 1.3 * TARGET, f"loss {TARGET:g}")
    bottom.set(yscale="log", xlim=(0, 1.3 * config.steps), ylim=(3e-4, 3), xlabel="steps at the best rate",
               ylabel="loss on digits", title="and cost the network most")  # fmt: skip
    return figure


def caption(config: Config, rows: Rows) -> str:
    trained = rows.where(kind="trained", activation="relu")
    steps = {(row["scaling"], row["offset"]): row["steps"] for row in trained}
    best = steps["standardize", 0.0]
    return (
        f"A perceptron of ReLU reaches a loss of {TARGET} on digits after {best:.0f} steps where inputs are"
        f" standardized, {steps['centre', 0.0]:.0f} where they are centred, {steps['whiten', 0.0]:.0f} whitened,"
        f" {steps['raw', 0.0]:.0f} raw, {steps['standardize', config.mean]:.0f} with a mean of {config.mean:g}"
        f" deviations; means of {config.ratios[-1]:g} leave {_dead(config, rows):.0%} of random units off on all of"
        f" {config.num_examples[-1]} examples."
    )


_NAMES = {"raw": "raw", "centre": "centred", "standardize": "standardized", "whiten": "whitened"}


def _dead(config: Config, rows: Rows) -> float:
    return rows.only(kind="units", ratio=config.ratios[-1], num=config.num_examples[-1])["dead"]


def _ratios(trained: Rows, above: tuple[str, float], below: tuple[str, float]) -> Rows:
    """One row an activation: how many times the steps of one preprocessing are those of another."""
    rows = []
    for activation, own in trained.by("activation").items():
        slow, fast = (own.only(scaling=scaling, offset=offset) for scaling, offset in (above, below))
        ratio = slow["steps"] / fast["steps"]
        rows.append({"activation": activation, "ratio": ratio, "law": 0.75,
                     "exponent": float(np.log(ratio) / np.log(slow["top"] / fast["top"]))})  # fmt: skip
    return Rows(rows)


def _units(rng: np.random.Generator, config: Config, ratio: float, num: int) -> Row:
    """The share of units that are off, and on, on all examples, and its error over data sets."""
    dead, linear = np.zeros((2, config.num_sets))
    for place in range(config.num_sets):
        before = (ratio + rng.normal(size=(num, config.dim))) @ rng.normal(size=(config.dim, 100))
        dead[place], linear[place] = (before <= 0).all(0).mean(), (before > 0).all(0).mean()
    law = float(theory.preprocessing.dead_unit_share(ratio, num))
    counts = core.mean_of_samples(dead), core.mean_of_samples(linear)
    # none of so many units, where the law expects none, is no error of 0
    floor = max(law, 1 / config.num_sets) ** 0.5 / (100 * config.num_sets) ** 0.5
    return {"kind": "units", "ratio": ratio, "num": num, "dead": counts[0].value, "linear": counts[1].value,
            "predicted": law, "error": max(floor, *(count.standard_error or 0.0 for count in counts))}  # fmt: skip


def _sensitivity(rng: np.random.Generator, config: Config, ratio: float) -> Row:
    """What a random change of one layer's weights does to its outputs, over what the examples do to them."""
    inputs, weights = ratio + rng.normal(size=(2000, config.dim)), rng.normal(size=(config.dim, 100))
    spread = (inputs @ weights).var(0).mean()
    changes = np.array([np.square(inputs @ rng.normal(size=weights.shape)).mean() / spread for _ in range(10)])
    measured = core.mean_of_samples(changes)
    # the outputs' variance is known to sqrt(2 / (100 units x their examples)), mostly of the 100 draws of weights
    error = np.hypot(measured.standard_error or 0.0, (1 + ratio**2) * (2 / (100 * config.dim)) ** 0.5)
    return {"kind": "sensitivity", "ratio": ratio, "sensitivity": measured.value, "error": float(error),
            "predicted": 1 + ratio**2}  # fmt: skip


def _born_dead(rng: np.random.Generator, config: Config, width: int, depth: int) -> Row:
    """The share of random networks in which a layer is all off for one input."""
    values = np.ones((config.num_networks, width, 1))
    for _ in range(depth):
        values = np.maximum(rng.normal(size=(config.num_networks, width, width)) @ values, 0)
    law = theory.finite_width.born_dead_probability(width, depth)
    return {"kind": "born", "width": width, "depth": depth, "dead": float((values.sum((1, 2)) == 0).mean()),
            "predicted": law, "error": (law * (1 - law) / config.num_networks) ** 0.5}  # fmt: skip


def _trained(config: Config, activation: str, scaling: str, offset: float) -> Row:
    """Steps to the target at the best rate."""
    problem, seeds = _problem(config, activation, scaling, offset), config.seed + np.arange(config.num_seeds)
    trace = training.run(problem, rules.sgd, {"learning_rate": np.repeat(RATES, len(seeds))}, steps=config.steps,
                         seeds=np.tile(seeds, len(RATES)))  # fmt: skip
    curves = np.nan_to_num(trace["loss"], nan=np.inf).reshape(len(RATES), len(seeds), -1)
    steps = np.array([[_arrival(trace.steps, curve) for curve in own] for own in curves]).mean(1)
    best = int(steps.argmin())
    return {"kind": "trained", "activation": activation, "scaling": scaling, "offset": offset, "top": _top(problem),
            "learning_rate": float(RATES[best]), "steps": float(steps[best]),
            "curve": curves[best].mean(0)}  # fmt: skip


def _arrival(steps: np.ndarray, losses: np.ndarray) -> float:
    """The step at which a curve first reaches the target; infinite where it never does."""
    return measures.crossing(steps, losses, TARGET, log=True) if min(losses) <= TARGET else np.inf


def _problem(config: Config, activation: str, scaling: str, offset: float) -> core.Problem:
    problem = problems.load_problem("digits-mlp", width=config.trained_width, depth=1, activation=activation,
                                    scaling=scaling, num_examples=config.trained_examples,
                                    initializer=STARTS[activation])  # fmt: skip
    inputs, labels = problem.data
    return dataclasses.replace(problem, data=(inputs + offset, labels), validation=None)


def _top(problem: core.Problem) -> float:
    """Largest eigenvalue of the second moments of the inputs and a constant 1."""
    inputs = np.asarray(problem.data[0]).reshape(len(problem.data[1]), -1)
    inputs = np.column_stack([inputs, np.ones(len(inputs))])
    return float(np.linalg.norm(inputs, 2) ** 2 / len(inputs))


def _curvatures(config: Config, prepared: list[tuple[str, float]]) -> list[Row]:
    """Largest curvature by the first layer's weights and biases, so small that tanh is linear; 200 power iterations."""
    made = [_problem(config, "tanh", *how) for how in prepared]
    params = made[0].init(jax.random.key(config.seed))
    first, rest = params["hidden"][0], {name: part for name, part in params.items() if name != "hidden"}
    first = jax.tree.map(lambda leaf: 1e-3 * leaf, first)

    @jax.jit
    def largest(data: Any) -> jax.Array:
        def loss(layer: Any) -> jax.Array:
            return made[0].loss({"hidden": {0: layer}, **rest}, data, None)

        def iterate(_: Any, state: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
            vector = jax.jvp(jax.grad(loss), (first,), (state[0],))[1]
            size = jnp.sqrt(sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(vector)))
            return jax.tree.map(lambda leaf: leaf / size, vector), size

        return jax.lax.fori_loop(0, 200, iterate, (first, jnp.zeros(())))[1]

    tops, curvatures = [_top(problem) for problem in made], [float(largest(problem.data)) for problem in made]
    return [{"kind": "curvature", "scaling": scaling, "offset": offset, "curvature": curvature / curvatures[0],
             "predicted": top / tops[0]}
            for (scaling, offset), top, curvature in zip(prepared, tops, curvatures, strict=True)]  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
