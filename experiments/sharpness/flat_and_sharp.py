"""Are sharp minima bad minima, and would more data take them away?

What the lecture says: "those really sharp minima are actually bad minima"; with twice the data "that very sensitive
minima would actually disappear"; "those flat minima might actually generalize better".

What is true: half of it. More data do help, and what disappears is flat: least squares in 180 dimensions errs 11 times
less with 400 examples than with 200, while its largest curvature falls by a quarter; about three quarters of what
overfits lies in the flattest tenth of the directions. Sharpness is no property of the function: rescaling one layer
against the other makes the same network as sharp as one likes. Among small networks that fit their digits equally well,
the sharpness does not rank the gap between validation and training loss. Rescaled by the weights it does, if anything,
the wrong way round (a pilot of 2 seeds had it the right way). Nor does flatness that is sought help: the same networks
trained by SAM end with two thirds to nine tenths of the sharpness, not less of it rescaled by the weights, and the same
gap.

What was set after a look: the networks' seeds. Networks of one seed end alike, and a first count of four seeds
correlated by .60, past the bound of .5; the bound stayed, sixteen seeds drawn as groups replaced them. And that SAM's
networks are 5 % flatter for sure: in the full preset they are by 8 %, in an interval that ends at .4 %.

Source: the mean of an inverse Wishart matrix; Dinh et al. 2017, arXiv 1703.04933; Andriushchenko et al. 2023, arXiv
2302.07011, who find that sharpness "does not correlate well" with generalization; Foret et al. 2021, arXiv 2010.01412,
for SAM. Its bounds are from seed 11.
"""

from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib

from experiments.pairs import Ratio, paired_ratio
from jaxopt_lab import problems, rules, theory, training
from jaxopt_lab.core import Problem, Verdict, fail, mean_of_samples
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main, measures
from jaxopt_lab.studies.fields import Between, Count, Increasing, NotEmpty, Positive, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import at_least, at_most, everywhere, within

WISHART, DINH = "mean of an inverse Wishart matrix", "Dinh et al. 2017, arXiv 1703.04933"
ANDRIUSHCHENKO, FORET = "Andriushchenko et al. 2023, arXiv 2302.07011", "Foret et al. 2021, arXiv 2010.01412"
TENTH, FITTED = 0.1, 0.05


@configclass
class Config:
    """All that can change a number. Inputs and the noise of the labels of least squares are standard Gaussian."""

    dim: Annotated[int, Whole(20)] = 180
    """Parameters of least squares."""
    num_examples: Annotated[tuple[int, ...], Increasing("hold at least two numbers that increase")] = (200, 400, 800)
    """Examples of least squares, each above dim + 5."""
    num_draws: Annotated[int, Whole(20)] = 100
    """Data sets of each size."""
    scales: Annotated[tuple[Positive, ...], NotEmpty("scale")] = (1.0, 10.0, 100.0)
    """By how much the first of two factors is larger than the second one's inverse."""
    batch_sizes: Annotated[tuple[Count, ...], NotEmpty("batch size")] = (5, 100)
    """Examples a step of the networks, of 200."""
    rates: Annotated[tuple[Positive, ...], NotEmpty("rate")] = (0.2, 0.8)
    """Learning rates of gradient descent on the networks."""
    time: Annotated[float, Between("[10, 10000]")] = 200.0
    """Steps times learning rate of each network."""
    num_networks: Annotated[int, Whole(4)] = 16
    """Networks of each batch size and rate."""
    radius: Positive = 0.2
    """How far SAM looks up the slope; it runs at the last batch size and rate."""
    seed: Seed = 100
    """Seeds everything; pilots, of which the bounds are, took the networks of seeds below 20."""

    def __post_init__(self) -> None:
        if self.num_examples[0] < self.dim + 5:
            told = f"num_examples must be at least dim + 5, got {self.num_examples[0]} and {self.dim}"
            raise fail("flat_and_sharp", told, "Else the risk has no variance.")


PRESETS = {"quick": Config(), "full": Config(num_draws=2000, batch_sizes=(2, 5, 20, 100, 200), num_networks=40,
                                             rates=(0.02, 0.05, 0.1, 0.2, 0.4, 0.8))}  # fmt: skip


def run(config: Config) -> list[dict[str, Any]]:
    """One row a number of examples, one a scale, one a network."""
    rng = np.random.default_rng(config.seed)
    rows = [_least_squares(rng, config, num) for num in config.num_examples]
    rows += [{"kind": "factors", "scale": scale, "sharpness": _factor_sharpness(scale),
              "predicted": scale**2 + scale**-2} for scale in config.scales]  # fmt: skip
    return rows + _networks(config)


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """What more data change, where the overfit lies, what rescaling does, and what sharpness tells of networks."""
    data, networks = rows.where(kind="least squares"), rows.where(kind="network", train=lambda loss: loss <= FITTED)
    first, second = data[0], data[1]
    interval, gap = _rank_correlation(networks, "sharpness"), _aware(config, rows, "gap")
    return [
        everywhere("Least squares overfits by d / (n - d - 1)", "mean excess risk with {num} examples", data, "risk",
                   "predicted", errors="error", reference=WISHART),
        within("What overfits lies in the flattest directions", f"part of the excess risk in the flattest {TENTH:.0%}, "
               f"{first['num']} examples", first["flat_law"], first["flat"], first["flat_error"], beyond=0.02,
               reference="Marchenko and Pastur 1967, the spectrum's limit"),
        at_least("With more data the risk falls much", f"risk of {first['num']} over that of {second['num']} examples",
                 0.5 * first["predicted"] / second["predicted"], first["risk"] / second["risk"], reference=WISHART),
        at_most("while the sharpest direction hardly changes", "share by which the largest eigenvalue falls", 0.4,
                1 - second["largest"] / first["largest"], reference="(1 + sqrt(d / n))^2"),
        everywhere("The same function is as sharp as one likes: a^2 + a^-2", "largest curvature at scale {scale:g}",
                   rows.where(kind="factors"), "sharpness", "predicted", relatively=1e-9, reference=DINH),
        at_most("Sharpness does not rank the gap of networks that fit equally well",
                f"upper end of the rank correlation's 95 % interval, {len(networks)} networks", 0.5, interval[1],
                reference=ANDRIUSHCHENKO),
        at_most("SAM ends flatter", "largest curvature over that of gradient descent, upper end of 95 %", 1.0,
                _aware(config, rows, "sharpness").high, reference=f"{FORET}; seed 11 gave .84, a full run .996"),
        at_least("but not rescaled by the weights", "largest rescaled curvature over that of gradient descent", 0.9,
                 _aware(config, rows, "adaptive").value, reference="seed 11 gave 1.1"),
        at_most("and its gap is the same", "gaps apart, times, upper end of 95 %", 1.1, max(gap.high, 1 / gap.low),
                reference="seed 11 gave 1.04"),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Excess risk by direction, flat to sharp; below, networks' gap against their sharpness."""
    figure, (top, bottom) = maker.axes(2, height=7.2)
    for color, row in enumerate(rows.where(kind="least squares")):
        places = (np.arange(len(row["parts"])) + 0.5) / len(row["parts"])
        maker.measured(top, places, row["parts"], color=color, linestyle="-", linewidth=1,
                       label=f"{row['num']} examples")  # fmt: skip
    top.set(yscale="log", xlim=(0, 1.35), xticks=np.linspace(0, 1, 6), ylabel="excess risk",
            xlabel="share of the directions, flat to sharp",
            title="What overfits is flat")  # fmt: skip
    networks = rows.where(kind="network", train=lambda loss: loss <= FITTED)
    for color, size in enumerate(config.batch_sizes):
        own = networks.where(batch_size=size)
        bottom.plot(
            own["sharpness"], own["gap"], "o", color=maker.color(color), markersize=5 - color, label=f"batch {size}"
        )
    aware = rows.where(kind="SAM")
    bottom.plot(aware["sharpness"], aware["gap"], "^", color=maker.color(3), label="SAM")
    bottom.legend()
    bottom.set(xlabel="largest curvature at the end", ylabel="validation loss less training loss",
               title="and sharpness does not tell the gap")  # fmt: skip
    return figure


def caption(config: Config, rows: Rows) -> str:
    first, second = rows.where(kind="least squares")[:2]
    networks = rows.where(kind="network", train=lambda loss: loss <= FITTED)
    low, high = _rank_correlation(networks, "sharpness")
    adaptive = _rank_correlation(networks, "adaptive")
    sharp, gap = (_aware(config, rows, name) for name in ("sharpness", "gap"))
    return (
        f"Twice the data cut the excess risk {first['risk'] / second['risk']:.1f} times and the largest curvature by"
        f" {1 - second['largest'] / first['largest']:.0%}; {first['flat']:.0%} of what overfits lies in the flattest"
        f" tenth; among {len(networks)} networks sharpness and gap have a rank correlation between {low:.2f} and"
        f" {high:.2f}, rescaled by the weights between {adaptive[0]:.2f} and {adaptive[1]:.2f};"
        f" SAM ends with {sharp} of the sharpness and {gap} of the gap."
    )


def _least_squares(rng: np.random.Generator, config: Config, num: int) -> Row:
    """Fits of pure noise: the true parameters are 0, so that the squared norm of the fit is the excess risk."""
    risks, flats, kappas, largest, parts = [], [], [], [], []
    for _ in range(config.num_draws):
        inputs, labels = rng.normal(size=(num, config.dim)), rng.normal(size=num)
        left, singular, _ = np.linalg.svd(inputs, full_matrices=False)
        squares = np.square(left.T @ labels / singular)[::-1]  # flattest first
        risks.append(squares.sum())
        flats.append(squares[: round(TENTH * config.dim)].sum())
        parts.append([part.sum() for part in np.array_split(squares, 10)])
        kappas.append((singular[0] / singular[-1]) ** 2)
        largest.append(singular[0] ** 2 / num)
    risk, flat = mean_of_samples(np.array(risks)), measures.ratio_of_means(flats, risks)
    return {"kind": "least squares", "num": num, "risk": risk.value, "error": risk.standard_error,
            "predicted": float(theory.least_squares.excess_risk(config.dim, num)),
            "flat": flat.value, "flat_error": flat.standard_error,
            "flat_law": theory.least_squares.flattest_share(config.dim, config.dim / num, TENTH),
            "kappa": float(np.median(kappas)), "largest": float(np.mean(largest)),
            "parts": np.mean(parts, 0)}  # fmt: skip


def _factor_sharpness(scale: float) -> float:
    """Largest curvature of (1 - a b)^2 / 2 at a = scale, b = 1 / scale."""
    hessian = jax.hessian(lambda factors: 0.5 * (1 - factors[0] * factors[1]) ** 2)(jnp.array([scale, 1 / scale]))
    return float(np.linalg.eigvalsh(np.asarray(hessian))[-1])


def _rank_correlation(networks: Rows, name: str) -> tuple[float, float]:
    """The 95 % interval of the rank correlation with the gap; a seed's networks end alike, and are drawn as one."""
    groups = [networks.where(seed=seed) for seed in dict.fromkeys(networks["seed"].tolist())]
    pairs = [(own[name], own["gap"]) for own in groups]

    def correlation(drawn: np.ndarray) -> float:
        sharp, gap = (np.concatenate([pairs[place][side] for place in drawn]) for side in (0, 1))
        return measures.rank_correlation(sharp, gap).value

    value = correlation(np.arange(len(pairs)))
    error = measures.bootstrap_error(correlation, len(pairs))
    return value - 1.96 * error, value + 1.96 * error


def _aware(config: Config, rows: Rows, name: str) -> Ratio:
    """A number of networks trained by SAM over that of the same ones trained by gradient descent."""
    plain = rows.where(kind="network", batch_size=config.batch_sizes[-1], learning_rate=config.rates[-1])
    return paired_ratio(rows.where(kind="SAM")[name], plain[name])


def sharpness_aware(learning_rate: float, radius: float) -> optax.GradientTransformationExtraArgs:
    """SAM: the gradient of the point that lies `radius` up the slope, on the same batch."""
    up = optax.chain(optax.contrib.normalize(), optax.sgd(radius))
    return optax.contrib.sam(optax.sgd(learning_rate), up, opaque_mode=True)


def _networks(config: Config) -> list[Row]:
    """Perceptrons on digits, trained for equal times: the whole Hessian's largest eigenvalue, plain and rescaled."""
    problem = problems.flattened(problems.load_problem("digits-mlp", width=8, depth=1, activation="tanh",
                                                       num_examples=200))  # fmt: skip
    hessian = jax.jit(jax.hessian(problem.full_loss))
    rows = [
        row
        for size in config.batch_sizes
        for rate in config.rates
        for row in _trained(config, problem, hessian, "network", rules.sgd, size, {"learning_rate": rate})
    ]
    options = {"learning_rate": config.rates[-1], "radius": config.radius}
    return rows + _trained(config, problem, hessian, "SAM", sharpness_aware, config.batch_sizes[-1], options)


def _trained(
    config: Config, problem: Problem, hessian: Callable[..., Any], kind: str, rule: Callable[..., Any], size: int,
    options: dict[str, float],
) -> list[Row]:  # fmt: skip
    seeds, steps = config.seed + np.arange(config.num_networks), round(config.time / options["learning_rate"])
    trace = training.run(problem, rule, options, steps=steps, seeds=seeds, every=steps, batch_size=size,
                         probes=[training.validation_loss()])  # fmt: skip
    rows = []
    for place, seed in enumerate(seeds):
        params = np.asarray(trace.params_of(place))
        dense, train = np.asarray(hessian(params)), float(problem.full_loss(params))
        rescaled = np.abs(params)[:, None] * dense * np.abs(params)
        rows.append({
            "kind": kind, "seed": int(seed), "batch_size": size, "learning_rate": options["learning_rate"],
            "train": train,
            "gap": float(trace["validation_loss"][place, -1]) - train,
            "sharpness": float(np.linalg.eigvalsh(dense)[-1]),
            "adaptive": float(np.linalg.eigvalsh(rescaled)[-1]),
        })  # fmt: skip
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
