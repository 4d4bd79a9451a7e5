"""Does the condition number grow with the number of parameters?

What the lecture says: a bad condition number, "this problem actually becomes much more common in high dimensions".

What is true: it depends on the spectrum, not on the dimension. Least squares on n examples of d independent inputs has
((1 + sqrt(g)) / (1 - sqrt(g)))^2, g = d / n, whatever d is: 9.00 at four examples a parameter, 33.97 at two, also at
1e8 parameters. It grows where examples and parameters come in proportion 1: as many examples as parameters give a
matrix whose condition number is about 4.65 d, and the Hessian its square. A random symmetric Hessian (a saddle) has
about 2.37 N. Beyond the sizes whose spectra are computed the table is by
law, and says so. In perceptrons of one hidden layer the largest
curvature and its ratio to the tenth do not grow with the width; the smallest is so near zero at any width that the
condition number says nothing.

Source: Marchenko and Pastur 1967; Johnstone 2001 for finite sizes; Edelman 1988, theorem 6.1; Wigner's surmise.
"""

from typing import Annotated, Any

import jax
import numpy as np

from jaxopt_lab import problems, theory
from jaxopt_lab.core import Verdict
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main, measures
from jaxopt_lab.studies.fields import Between, Increasing, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import at_most, everywhere

LAW_DIMS = 10 ** np.arange(2, 9)
EDELMAN, MARCHENKO = "Edelman 1988, theorem 6.1", "Marchenko and Pastur 1967; Johnstone 2001"
TABLE = ("data, 4 examples a parameter", "data, 2 examples a parameter", "data, 1 example a parameter", "symmetric")


@configclass
class Config:
    """All that can change a number. Entries of data and of matrices are independent Gaussians."""

    dims: Annotated[tuple[int, ...], Increasing("hold at least three numbers that increase", least=3)] = (
        25, 50, 100, 200, 400,
    )  # fmt: skip
    """Dimensions whose spectra are computed, counts; each at most 10,000."""
    ratios: Annotated[tuple[float, ...], Between("(0, 0.9]")] = (0.25, 0.5)
    """Parameters over examples g."""
    num_draws: Annotated[int, Whole(20)] = 400
    """Matrices of the smallest dimension; fewer of larger ones, in inverse proportion, at least 20."""
    widths: Annotated[tuple[int, ...], Increasing("hold at least two numbers that increase")] = (4, 8, 16)
    """Units in the hidden layer of the perceptrons."""
    num_examples: Annotated[int, Whole(50)] = 300
    """Digits that the perceptrons learn, a count."""
    num_networks: Annotated[int, Whole(1)] = 2
    """Perceptrons of each width."""
    seed: Seed = 0
    """Seeds matrices and perceptrons."""


PRESETS = {"quick": Config(), "full": Config(dims=(25, 50, 100, 200, 400, 800, 1600), widths=(4, 8, 16, 32),
                                             num_draws=2000, num_networks=5)}  # fmt: skip


def run(config: Config) -> list[dict[str, Any]]:
    """One row an ensemble and dimension, one a network, and one an ensemble and dimension of the table by law."""
    rng = np.random.default_rng(config.seed)
    rows = []
    for dim in config.dims:
        num = max(20, config.num_draws * config.dims[0] // dim)
        for ratio in config.ratios:
            rows.append(_data(rng, dim, ratio, num))
        rows += [_square(rng, dim, num), _symmetric(rng, dim, num)]
    rows += [_network(config, width, seed) for width in config.widths for seed in range(config.num_networks)]
    return rows + [{"kind": "by law", "ensemble": name, "dim": int(dim), "kappa": _law(name, int(dim))}
                   for name in TABLE for dim in LAW_DIMS]  # fmt: skip


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Each ensemble's law at every size; what grows and what does not in networks."""
    data, networks = rows.where(kind="data"), rows.where(kind="network")
    means = {width: own["ratio"].mean() for width, own in networks.by("width").items()}
    tops = {width: own["largest"].mean() for width, own in networks.by("width").items()}
    first, last = config.widths[0], config.widths[-1]
    growth = measures.exponent(*(data.where(ratio=config.ratios[0])[-3:][name] for name in ("dim", "kappa")))
    return [
        # the error holds four standard errors of the mean and 1 / d, the order after the one that the law has
        everywhere("Data of d inputs have the Marchenko-Pastur condition number",
                   "mean kappa of {num} draws at d = {dim}, g = {ratio:g}", data, "kappa", "predicted",
                   errors="error", reference=MARCHENKO),
        at_most("and it does not grow with the dimension",
                f"exponent of kappa in d, three largest sizes, g = {config.ratios[0]:g}", 0.1, growth,
                reference=MARCHENKO),
        everywhere("As many examples as inputs: ln kappa of the data is ln d + 1.537, of the Hessian twice that",
                   "mean ln kappa of {num} draws at d = {dim}", rows.where(kind="square"), "log_kappa", "predicted",
                   errors="error", reference=EDELMAN),
        everywhere("kappa / d of square data scatters as exp(-2 / x - 2 / x^2)",
                   "share of {num} draws below x = 4, d = {dim}", rows.where(kind="square"), "share", "law_share",
                   errors="share_error", reference=EDELMAN),
        # Wigner's surmise is right to some percent: 5 % of ln kappa's unit are added to its error.
        everywhere("A random symmetric Hessian has 2.37 N", "median ln kappa of {num} draws at N = {dim}",
                   rows.where(kind="symmetric"), "log_kappa", "predicted", errors="error", reference="Wigner"),
        at_most("A wider network has no larger ratio of the first to the tenth curvature",
                f"mean ratio at width {last} over width {first}", 1.5, means[last] / means[first],
                reference="measured"),
        at_most("nor a larger curvature", f"mean lambda_1 at width {last} over width {first}", 1.5,
                tops[last] / tops[first], reference="measured"),
        # float64 holds 16 digits; what is nearer to zero is zero
        at_most("Its smallest curvature is zero at any width", "largest of the smallest |lambda| over lambda_1", 1e-10,
                max(networks["smallest"]), reference="pixels that never vary"),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Condition numbers against the dimension: lines by law to 1e8, dots what was computed."""
    figure, axes = maker.axes(height=4.8)
    table = rows.where(kind="by law")
    for color, name in enumerate(TABLE):
        own = table.where(ensemble=name)
        maker.predicted(axes, own["dim"], own["kappa"], color=color, label=name.replace(", ", ",\n"))
    found = [rows.where(kind="data", ratio=ratio) for ratio in (0.25, 0.5)]
    for color, own in enumerate(found):
        maker.measured(axes, own["dim"], own["kappa"], color=color)
    square, symmetric = rows.where(kind="square"), rows.where(kind="symmetric")
    maker.measured(axes, square["dim"], np.exp(2 * square["log_kappa"]), color=2)
    maker.measured(axes, symmetric["dim"], np.exp(symmetric["log_kappa"]), color=3)
    axes.set(xscale="log", yscale="log", xlim=(10, 1e14), xlabel="number of parameters d",
             ylabel="condition number of the Hessian",
             title="The spectrum decides; lines beyond the dots are by law")  # fmt: skip
    axes.set_xticks(10.0 ** np.arange(2, 9, 2))
    return figure


def caption(config: Config, rows: Rows) -> str:
    data = rows.where(kind="data", ratio=config.ratios[0])
    square = rows.where(kind="square")[-1]
    return (
        f"With {1 / config.ratios[0]:g} examples a parameter kappa is {data[0]['kappa']:.2f} at {data[0]['dim']}"
        f" parameters and {data[-1]['kappa']:.2f} at {data[-1]['dim']}, in the limit"
        f" {theory.random_matrices.marchenko_pastur_condition_number(config.ratios[0]):.2f}; with one it is"
        f" {np.exp(2 * square['log_kappa']):.1e} at {square['dim']}, and grows as the square."
    )


def _data(rng: np.random.Generator, dim: int, ratio: float, num: int) -> dict[str, Any]:
    examples = round(dim / ratio)
    kappas = [np.linalg.cond(rng.normal(size=(examples, dim))) ** 2 for _ in range(num)]
    predicted, deviation = theory.spectral_edges.sample_condition_number(dim, dim / examples)
    return {"kind": "data", "dim": dim, "ratio": ratio, "num": num, "kappa": float(np.mean(kappas)),
            "predicted": float(predicted), "error": float(deviation / np.sqrt(num) + predicted / dim / 4)}  # fmt: skip


def _square(rng: np.random.Generator, dim: int, num: int) -> dict[str, Any]:
    kappas = np.array([np.linalg.cond(rng.normal(size=(dim, dim))) for _ in range(num)])
    share = float(theory.random_matrices.square_gaussian_condition_cdf(4.0))
    return {"kind": "square", "dim": dim, "num": num, "log_kappa": float(np.log(kappas).mean()),
            "predicted": float(theory.random_matrices.square_gaussian_log_condition_number(dim)),
            "error": float(np.log(kappas).std(ddof=1) / np.sqrt(num) + 0.25 / dim),
            "share": float(np.mean(kappas < 4 * dim)), "law_share": share,
            "share_error": float(np.sqrt(share * (1 - share) / num) + 0.25 / dim)}  # fmt: skip


def _symmetric(rng: np.random.Generator, dim: int, num: int) -> dict[str, Any]:
    sizes = np.array([_sizes(rng.normal(size=(dim, dim))) for _ in range(num)])
    kappas = np.log(sizes)
    error = measures.bootstrap_error(lambda drawn: float(np.median(kappas[drawn])), num)
    return {"kind": "symmetric", "dim": dim, "num": num, "log_kappa": float(np.median(kappas)),
            "predicted": float(np.log(theory.spectral_edges.symmetric_condition_number(dim))),
            "error": error + 0.05 / 4 + 0.25 / dim}  # fmt: skip


def _sizes(entries: np.ndarray) -> float:
    eigenvalues = np.abs(np.linalg.eigvalsh(entries + entries.T))
    return float(eigenvalues.max() / eigenvalues.min())


def _network(config: Config, width: int, seed: int) -> dict[str, Any]:
    """The whole Hessian of a perceptron at its initialization, cross entropy of digits."""
    problem = problems.load_problem("digits-mlp", width=width, depth=1, activation="tanh",
                                    num_examples=config.num_examples)  # fmt: skip
    flat = problems.flattened(problem)
    params = flat.init(jax.random.key(config.seed + seed))
    sizes = np.sort(np.abs(np.linalg.eigvalsh(np.asarray(jax.jit(jax.hessian(flat.full_loss))(params)))))[::-1]
    return {"kind": "network", "width": width, "dim": len(sizes), "largest": float(sizes[0]),
            "ratio": float(sizes[0] / sizes[9]), "smallest": float(sizes[-1] / sizes[0])}  # fmt: skip


def _law(ensemble: str, dim: int) -> float:
    if ensemble == TABLE[3]:
        return float(theory.spectral_edges.symmetric_condition_number(dim))
    if ensemble == TABLE[2]:
        return float(np.exp(2 * theory.random_matrices.square_gaussian_log_condition_number(dim)))
    return float(theory.random_matrices.marchenko_pastur_condition_number(0.25 if ensemble == TABLE[0] else 0.5))


if __name__ == "__main__":
    raise SystemExit(main())
