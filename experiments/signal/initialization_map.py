"""How large must the first weights be, and for how many layers does that keep a signal?

What the lecture says: too small, and "the activations will vanish as you go through the network"; too large, and
"eventually they'll explode"; Xavier's and He's scales "keep a nice distribution of activations"; it is "more and more
critical as your networks get deeper".

What is true: right, at known rates. With weights of variance v / fan-in a layer of ReLU multiplies squares by v / 2,
forward and back, so that the room for v shrinks as 1 / depth: networks train where all L layers together change the
squares by e^3 or less. Too small, they stand on a plateau for about (v / 2)^(-(L - 1) / 2) / rate steps. Too large is
milder: what is e^T times too large needs a rate e^(-T / 2) times as large, until deep networks train at none. He's v =
2 is right in the mean only: the logarithm of the squared length scatters by 5 L / N, of orthogonal weights by 3 L / N,
of linear layers by 2 L / N and 0; and all inputs become parallel, 1 - cos = 9 pi^2 / (2 l^2). Xavier's scale loses half
of the square in each layer of ReLU; with tanh it keeps no distribution either, the square falls as 1 / (2 l).

What was set after a look: the first guess was that nothing trains from e^12 on, twice the six depth scales of
Schoenholz et al. Four layers did, to a fifth of chance's loss, too large at seed 0 and too small at seed 1: ReLU is
homogeneous, so that larger weights are larger outputs and smaller ones a plateau that ends. The bounds on the rate and
on the plateau replaced it, and seed 3 the seed.

Source: Poole et al. 2016, arXiv 1606.05340; Schoenholz et al. 2017, arXiv 1611.01232, for the depth that trains; Saxe,
McClelland, Ganguli 2013, arXiv 1312.6120, for the plateau; Hanin and Nica 2018, arXiv 1812.05994, for the scatter.
"""

from typing import Annotated, Any

import numpy as np

from jaxopt_lab import problems, rules, theory, training
from jaxopt_lab.core import Verdict, mean_of_samples
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Count, Increasing, Must, NotEmpty, Positive, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import at_least, at_most, everywhere

POOLE, SCHOENHOLZ = "Poole et al. 2016, arXiv 1606.05340", "Schoenholz et al. 2017, arXiv 1611.01232"
SAXE = "Saxe, McClelland, Ganguli 2013, arXiv 1312.6120"
HANIN, CHO = "Hanin and Nica 2018, arXiv 1812.05994", "Cho and Saul 2009, the arc-cosine kernel"
RATES = np.geomspace(1e-4, 1.0, 7)
CHANCE = float(np.log(10))
REACH = 3.0  # half of the six depth scales through which a network trains by Schoenholz et al., a rule of thumb


@configclass
class Config:
    """All that can change a number. Weights have variance v / fan-in, biases are zero."""

    widths: Annotated[tuple[int, ...], Whole(8), Increasing("hold at least two widths that increase")] = (25, 100)
    """Units in each layer of the random ReLU and linear networks."""
    depth: Annotated[int, Whole(5)] = 20
    """Layers of the random networks."""
    variances: Annotated[tuple[Positive, ...], NotEmpty("variance")] = (1.0, 2.0, 4.0)
    """Weight variances v of the random ReLU networks: Xavier's is 1, He's 2."""
    num_draws: Annotated[int, Whole(20)] = 200
    """Random networks of each kind."""
    wide: Annotated[int, Whole(50)] = 500
    """Units of the networks on which tanh and the angle between two inputs are measured."""
    num_wide: Annotated[int, Whole(5)] = 20
    """Such networks."""
    trained_depths: Annotated[tuple[int, ...], Increasing("hold at least two depths that increase")] = (4, 16)
    """Hidden layers of the trained networks."""
    factors: Annotated[tuple[Positive, ...], Must("hold 1 and more", lambda held: 1.0 in held and len(held) > 1)] = (
        0.04,
        0.25,
        0.5,
        1.0,
        2.0,
        4.0,
        25.0,
    )
    """Weight variances of the trained networks over He's."""
    trained_width: Annotated[int, Whole(4)] = 32
    """Their units in each layer."""
    steps: Count = 300
    """Steps of training, 50 of 500 digits each."""
    seed: Seed = 3
    """Seeds everything."""


PRESETS = {
    "quick": Config(),
    "full": Config(
        widths=(25, 100, 200), depth=50, num_draws=300, wide=1000, num_wide=30, trained_depths=(4, 8, 16, 32),
        trained_width=64, steps=600, factors=(0.004, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 25.0),
    ),
}  # fmt: skip


def run(config: Config) -> list[dict[str, Any]]:
    """One row a kind of random network, one a layer of the wide ones, one a trained network."""
    rng = np.random.default_rng(config.seed)
    kinds = [("relu", "gaussian", width, v) for width in config.widths for v in config.variances]
    kinds += [("relu", "orthogonal", config.widths[0], 2.0), ("identity", "gaussian", config.widths[0], 1.0)]
    rows = [_random(rng, config, *kind) for kind in kinds] + _wide(rng, config)
    return rows + [row for depth in config.trained_depths for row in _trained(config, depth)]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The factor of a layer and its scatter; tanh; angles; what trains."""
    random, wide, trained = (rows.where(kind=kind) for kind in ("random", "wide", "trained"))
    near = trained.where(total=lambda total: abs(total) <= REACH)
    # ten times the run: the plateau's law leaves out how strong the first direction is and how many layers grow it
    stuck = trained.where(plateau=lambda steps: steps >= 10 * config.steps * RATES[-1])
    large = trained.where(total=lambda total: total >= 4 * REACH)
    says = "mean of ln |h|^2 over {depth} layers of {activation}, width {width}, {weights}, v = {variance:g}"
    return [
        everywhere("A layer of ReLU multiplies squares by v / 2", says, random, "log", "log_law", errors="error",
                   reference=POOLE),
        everywhere("and the squared gradient, going back", says.replace("|h|", "|grad|"), random, "back", "log_law",
                   errors="back_error", reference=POOLE),
        everywhere("He's rule is right in the mean: the logarithm scatters by 5 L / N, orthogonal 3, linear 2",
                   says.replace("mean", "variance"), random, "scatter", "scatter_law", errors="scatter_error",
                   reference=HANIN),
        # what 1 / width leaves of the mean field's 1 / (2 l)
        everywhere("Xavier's scale and tanh keep no distribution: the mean square falls as 1 / (2 l)",
                   "mean square after {layer} layers", wide, "square", "square_law",
                   errors="square_error", reference="theory.mean_field"),
        everywhere("Behind He's rule all inputs become parallel, 1 - cos as 9 pi^2 / (2 l^2)",
                   "1 - cos after {layer} layers", wide, "apart", "apart_law", errors="apart_error", reference=CHO),
        at_most(f"Networks train where all layers together change squares by less than e^{REACH:g}",
                "largest loss over that of chance", 0.5, max(near["loss"]) / CHANCE, reference=SCHOENHOLZ),
        at_least("Too small, no rate leaves a plateau of (v / 2)^(-(L - 1) / 2) / rate steps that outlasts the run",
                 "smallest loss over that of chance", 0.5, min(stuck["loss"]) / CHANCE, reference=SAXE),
        # e^(-T / 2), and the exponent good to a factor of 2
        at_most(f"Where all layers enlarge squares e^{4 * REACH:g} times, only a much smaller rate trains, or none",
                "best rate over that of He's scale, 0 where none trains", float(np.exp(-REACH)), max(large["shrunk"]),
                reference="outputs e^(T / 2) too large, whose slope is too"),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Squares by layer, lines by law; below, the loss that training reaches against what all layers do together."""
    figure, (top, bottom) = maker.axes(2, height=7.6)
    layers = np.arange(1, config.depth + 1)
    for color, row in enumerate(rows.where(kind="random", width=config.widths[-1])):
        maker.predicted(top, layers, np.exp(row["log_law"] / config.depth * layers), color=color,
                        label=f"ReLU,\nv = {row['variance']:g}")  # fmt: skip
        maker.measured(top, layers, row["by_layer"], color=color)
    wide = rows.where(kind="wide")
    maker.predicted(top, wide["layer"], wide["square_law"], color=3, label="tanh,\nv = 1")
    maker.measured(top, wide["layer"], wide["square"], color=3)
    top.set(yscale="log", xlim=(0, 1.28 * config.depth), xlabel="layer", ylabel="mean square of the signal",
            title="A layer of ReLU multiplies squares by v / 2")  # fmt: skip
    for color, depth in enumerate(config.trained_depths):
        own = rows.where(kind="trained", depth=depth)
        maker.measured(bottom, own["total"], np.minimum(own["loss"], 1.2 * CHANCE), color=color, linestyle="-",
                       linewidth=0.8, markersize=6, label=f"{depth} layers")  # fmt: skip
    for end in (-REACH, REACH):
        bottom.axvline(end, color="grey", linestyle=":")
    bottom.axhline(CHANCE, color="grey", linewidth=0.8)
    ends = max(abs(rows.where(kind="trained")["total"]))
    bottom.set(xlim=(-1.05 * ends, 1.4 * ends), xlabel="depth x ln(v / 2): what all layers do to squares",
               ylabel=f"loss after {config.steps} steps",
               title="Too small cannot be trained, too large badly")  # fmt: skip
    return figure


def caption(config: Config, rows: Rows) -> str:
    last, deep = rows.where(kind="wide")[-1], config.trained_depths[-1]
    small, middle, large = (
        rows.where(kind="trained", depth=deep, factor=holds)
        for holds in (lambda factor: factor < 0.5, lambda factor: factor == 1, lambda factor: factor > 2)
    )
    return (
        f"Each layer of ReLU multiplies squares by v / 2, Xavier's scale with tanh leaves {last['square']:.3f} of them"
        f" after {last['layer']} layers; {deep} layers with"
        f" variances four times too small or too large end at a loss of {_shown(min(small['loss']))} and"
        f" {_shown(min(large['loss']))}, at He's scale at {_shown(middle[0]['loss'])}."
    )


def _shown(loss: float) -> str:
    return f"{loss:.2f}" if np.isfinite(loss) else "infinity"


def _random(
    rng: np.random.Generator, config: Config, activation: str, weights: str, width: int, variance: float
) -> Row:
    """ln of squared lengths over those at the start, forward by layer and back from a random direction."""
    drawn = [_lengths(rng, config.depth, activation, weights, width, variance) for _ in range(config.num_draws)]
    forward, back = np.array([pair[0] for pair in drawn]), np.array([pair[1] for pair in drawn])
    step = theory.finite_width.log_length_step(activation, width, weights)
    law = config.depth * (step.mean + np.log(variance / (2 if activation == "relu" else 1)))
    log, behind = mean_of_samples(forward[:, -1]), mean_of_samples(back)
    scatter = config.depth * step.variance
    return {"kind": "random", "activation": activation, "weights": weights, "width": width, "variance": variance,
            "depth": config.depth, "log": log.value, "error": log.standard_error, "log_law": law,
            "back": behind.value, "back_error": behind.standard_error, "scatter": float(forward[:, -1].var(ddof=1)),
            "scatter_law": scatter, "scatter_error": scatter * (2 / (config.num_draws - 1)) ** 0.5,
            "by_layer": np.exp(forward.mean(0))}  # fmt: skip


def _lengths(
    rng: np.random.Generator, depth: int, activation: str, weights: str, width: int, variance: float
) -> tuple[np.ndarray, float]:
    """Of one random network."""
    values, back = rng.normal(size=(2, width))
    start, end, layers, logs = values @ values, back @ back, [], []
    for _ in range(depth):
        matrix = rng.normal(size=(width, width))
        if weights == "orthogonal":
            matrix = np.linalg.qr(matrix)[0] * np.sign(rng.normal(size=width)) * width**0.5
        before = matrix @ values * (variance / width) ** 0.5
        values = np.maximum(before, 0) if activation == "relu" else before
        layers.append((matrix, (values != 0) * (variance / width) ** 0.5))
        logs.append(np.log(values @ values / start))
    for matrix, slope in layers[::-1]:
        back = matrix.T @ (slope * back)
    return np.array(logs), float(np.log(back @ back / end))


def _wide(rng: np.random.Generator, config: Config) -> list[Row]:
    """Mean squares behind tanh, and the angle of two inputs behind ReLU, through the same wide matrices."""
    squares, cosines = np.zeros((2, config.num_wide, config.depth))
    for place in range(config.num_wide):
        values, pair = rng.normal(size=config.wide), np.linalg.qr(rng.normal(size=(config.wide, 2)))[0]
        for layer in range(config.depth):
            matrix = rng.normal(size=(config.wide, config.wide)) / config.wide**0.5
            before = matrix @ (values if layer == 0 else np.tanh(values))
            values, pair = before, 2**0.5 * np.maximum(matrix @ pair, 0)
            squares[place, layer] = np.square(values).mean()
            cosines[place, layer] = pair[:, 0] @ pair[:, 1] / np.prod(np.linalg.norm(pair, axis=0))
    rows, square, cosine = [], 1.0, 0.0
    for layer in range(config.depth):
        if layer:
            square = float(theory.mean_field.mean_field_step("tanh", square, 1.0).variance)
        cosine = float(theory.finite_width.relu_correlation(cosine))
        measured, apart = mean_of_samples(squares[:, layer]), mean_of_samples(1 - cosines[:, layer])
        # beside the draws' error what layer / width leaves of the limit of infinite width; a quarter, for four of it
        beyond = 0.25 * (layer + 1) / config.wide
        rows.append({"kind": "wide", "layer": layer + 1, "square": measured.value, "square_law": square,
                     "square_error": (measured.standard_error or 0.0) + beyond * square,
                     "apart": apart.value, "apart_law": 1 - cosine,
                     "apart_error": (apart.standard_error or 0.0) + beyond * (1 - cosine)})  # fmt: skip
    return rows


def _trained(config: Config, depth: int) -> list[Row]:
    """The smallest loss that one of the learning rates reaches, by the scale of the first weights."""
    rows: list[Row] = []
    for factor in config.factors:
        problem = problems.load_problem("digits-mlp", width=config.trained_width, depth=depth, num_examples=500,
                                        initializer="he_normal", gain=factor**0.5)  # fmt: skip
        trace = training.run(problem, rules.sgd, {"learning_rate": RATES}, steps=config.steps, every=config.steps,
                             batch_size=50, seeds=config.seed)  # fmt: skip
        losses = np.nan_to_num(trace["loss"][:, -1], nan=np.inf)
        rows.append({"kind": "trained", "depth": depth, "factor": factor, "total": depth * float(np.log(factor)),
                     "plateau": factor ** (-(depth - 1) / 2), "loss": float(losses.min()),
                     "learning_rate": float(RATES[losses.argmin()])})  # fmt: skip
    (best,) = [row["learning_rate"] for row in rows if row["factor"] == 1]
    return [row | {"shrunk": row["learning_rate"] / best if row["loss"] < CHANCE / 2 else 0.0} for row in rows]


if __name__ == "__main__":
    raise SystemExit(main())
