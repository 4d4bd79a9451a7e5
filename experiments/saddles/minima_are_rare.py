"""How likely is it that every direction leads up, in 100 million dimensions?

What the lecture says: a local minimum means that "every one of them causes the loss to go up", which in 100 million
dimensions is rare; so it is "more about saddle points and less about local minima".

What is true: for a Hessian that is a random symmetric matrix (GOE) it is far rarer than independent directions would
have it. Those give 2^-N; eigenvalues repel each other, and the chance is 3^(-N^2 / 4): 10^-777 at N = 80, and
10^(-1.19 10^15) at N = 10^8. For the same reason the number of directions down hardly varies: half of them, give or
take 1.5 at N = 10^8, where independent ones vary by 5000. The correction: a random matrix of mean zero is the Hessian
of a critical point half way up the landscape. Further down the spectrum moves to the right, and near the bottom every
critical point is a minimum, see `index_against_energy`.

Source: Dean and Majumdar 2006, PRL 97, 160201, for the rate ln 3 / 4; Majumdar et al. 2011, Phys. Rev. E 83, 041105,
for the spread of the index; de Bruijn 1955 for the exact Pfaffian; Dumitriu and Edelman 2002, J. Math. Phys. 43, for
the tridiagonal matrices.
"""

from typing import Annotated, Any

import numpy as np

from jaxopt_lab import theory
from jaxopt_lab.core import Verdict, fail, require_between, require_count
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main
from jaxopt_lab.studies.fields import Whole, configclass
from jaxopt_lab.studies.verdicts import at_most, relative, within

DEAN = "Dean and Majumdar 2006, PRL 97, 160201"
MAJUMDAR = "Majumdar et al. 2011, Phys. Rev. E 83, 041105"
BRUIJN = "de Bruijn 1955, J. Indian Math. Soc. 19"
LECTURE = "CS231n 2017, lecture 7"
SMALLEST_FITTED = 10


@configclass
class Config:
    """All that can change a number. The matrices are N x N, symmetric, with Gaussian entries; their scale is free."""

    dims: tuple[int, ...] = (2, 3, 4, 5, 6, 8, 10, 20, 30, 40, 50, 60, 70, 80)
    """Sizes N of the exact probabilities, increasing; the fit of the asymptote takes those from 10 on, at least 6."""
    sampled_dims: tuple[int, ...] = (2, 3, 4, 5)
    """Sizes N at which the probability is also sampled."""
    num_matrices: Annotated[int, Whole(2)] = 200_000
    """Random matrices at each of them, a count."""
    index_dims: tuple[int, ...] = (10, 100, 1_000, 10_000)
    """Sizes N at which the number of negative eigenvalues is sampled, increasing."""
    num_spectra: Annotated[int, Whole(2)] = 10_000
    """Random tridiagonal matrices at each of them, a count."""
    far: float = 1e8
    """The size N to which the fits are continued."""
    seed: int = 0
    """Seeds the matrices."""

    def __post_init__(self) -> None:
        for name, least in (("dims", 1), ("sampled_dims", 2), ("index_dims", 2)):
            sizes = getattr(self, name)
            if len(sizes) < 2 or list(sizes) != sorted(set(sizes)):
                raise fail("minima_are_rare", f"{name} must hold at least two numbers that increase, got {sizes}")
            for size in sizes:
                require_count("minima_are_rare", name, size, minimum=least)
        if sum(size >= SMALLEST_FITTED for size in self.dims) < 6:
            raise fail("minima_are_rare", f"dims must hold six sizes of at least {SMALLEST_FITTED}, got {self.dims}")
        require_between("minima_are_rare", "far", self.far, self.dims[-1], 1e12)


PRESETS = {
    "quick": Config(),
    "full": Config(
        dims=(2, 3, 4, 5, 6, 8, 10, 20, 30, 40, 50, 60, 70, 80, 100, 120),
        num_matrices=2_000_000,
        index_dims=(10, 100, 1_000, 10_000, 100_000),
        num_spectra=20_000,
    ),
    "huge": Config(index_dims=(100, 10_000, 1_000_000, 100_000_000), num_spectra=400, num_matrices=2_000_000),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row an exact probability, one a sampled one, one a sampled number of negative eigenvalues."""
    rows: list[dict[str, Any]] = []
    for dim in config.dims:
        rows.append({"kind": "exact", "dim": dim, "log10": float(theory.positivity.minimum_probability(dim).log10())})
    for dim in config.sampled_dims:
        entries = np.random.default_rng([config.seed, dim]).standard_normal((config.num_matrices, dim, dim))
        share = float(np.mean(np.linalg.eigvalsh(entries + entries.transpose(0, 2, 1))[:, 0] > 0))
        exact = float(theory.positivity.minimum_probability(dim))
        error = float(np.sqrt(exact * (1 - exact) / config.num_matrices))
        rows.append({"kind": "sampled", "dim": dim, "share": share, "predicted": exact, "error": error})
    for dim in config.index_dims:
        counts = _negative_counts(np.random.default_rng([config.seed, dim]), dim, config.num_spectra)
        variance = float(counts.var(ddof=1))
        # The counts are nearly Gaussian, so that a sample variance has this error.
        error = variance * float(np.sqrt(2 / (config.num_spectra - 1)))
        known = {"predicted": float(theory.landscapes.index_variance(dim)), "mean": float(counts.mean())}
        rows.append({"kind": "index", "dim": dim, "variance": variance, "error": error, **known})
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Sampled against exact, the rate and the value at 1e8, independent directions, and the spread of the index."""
    exact, sampled, spread = (rows.where(kind=kind) for kind in ("exact", "sampled", "index"))
    worst = max(sampled, key=lambda row: abs(row["share"] - row["predicted"]) / row["error"])
    loose = max(spread, key=lambda row: abs(row["variance"] - row["predicted"]) / row["error"])
    fit, last, first = _fit(exact), exact[-1], spread[0]
    slope, slope_error = _slope(spread)
    far = f"N = {config.far:.0e}"
    return [
        within("The Pfaffian is the probability that a random symmetric matrix has no negative eigenvalue",
               f"share of {config.num_matrices:,} matrices where it is furthest off, N = {worst['dim']}",
               worst["predicted"], worst["share"], worst["error"], reference=BRUIJN),
        # The fit leaves out N^-3 and below: 1e-6 of the rate with sizes up to 32, 1e-8 up to 80.
        relative("The probability falls as exp(-rate N^2)", f"rate fitted to exact values up to N = {last['dim']}",
                 np.log(3) / 4, fit[0], 1e-5, reference=DEAN),
        relative("A critical point half way up is a minimum with this chance",
                 f"log10 of the chance at {far}, from the fit",
                 float(theory.landscapes.log10_minimum_probability(config.far)), -_at(fit, config.far) / np.log(10),
                 1e-5, reference=DEAN),
        at_most("Minima are rarer than independent directions would have it: 2^-N",
                f"log10 of the chance at N = {last['dim']}", -last["dim"] * np.log10(2), last["log10"],
                reference=LECTURE),
        within("The number of directions down varies as the logarithm says",
               f"variance where it is furthest off, N = {loose['dim']:,}", loose["predicted"], loose["variance"],
               loose["error"], reference=MAJUMDAR),
        within("Ten times the dimension adds ln 10 / pi^2 to the variance", "variance per decade of N",
               np.log(10) / np.pi**2, slope, slope_error, reference=MAJUMDAR),
        within(f"At {far} half of the directions lead down, give or take 1.5",
               "standard deviation of their number, continued from the samples",
               float(np.sqrt(theory.landscapes.index_variance(config.far))), _far_spread(config, spread),
               _far_error(config, spread), reference=MAJUMDAR),
        at_most("Independent directions would vary far more", f"variance at N = {first['dim']}", first["dim"] / 4,
                first["variance"], reference=LECTURE),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """The logarithm of the chance of a minimum against N; below, the spread of the index."""
    figure, (top, bottom) = maker.axes(2, height=7.0)
    exact, spread = rows.where(kind="exact"), rows.where(kind="index")
    sizes = np.linspace(2, exact[-1]["dim"], 100)
    maker.predicted(top, sizes, theory.landscapes.log10_minimum_probability(sizes))
    maker.measured(top, [r["dim"] for r in exact], [r["log10"] for r in exact], color=1)
    maker.predicted(top, sizes, -sizes * np.log10(2), color=6, linestyle=":")
    end = exact[-1]["dim"]
    top.text(0.62 * end, 0.05 * exact[-1]["log10"], "independent directions", va="top", color=maker.color(6))
    top.text(0.3 * end, 0.5 * exact[-1]["log10"], "random matrix", ha="center", color=maker.color(0))
    top.set(xlabel="number of directions N", ylabel="log10 of the chance that all lead up")
    top.set_ylim(1.03 * exact[-1]["log10"], -0.02 * exact[-1]["log10"])
    top.set_title(f"All {end} directions up: once in 10^{-exact[-1]['log10']:.0f} random matrices")
    sizes = np.geomspace(spread[0]["dim"], config.far, 100)
    maker.predicted(bottom, sizes, np.sqrt(theory.landscapes.index_variance(sizes)))
    maker.predicted(bottom, sizes, np.sqrt(sizes) / 2, color=6, linestyle=":")
    bottom.errorbar([r["dim"] for r in spread], [np.sqrt(r["variance"]) for r in spread],
                    yerr=[2 * r["error"] / np.sqrt(r["variance"]) for r in spread], fmt="o", color=maker.color(1),
                    zorder=3)  # fmt: skip
    bottom.set(xscale="log", ylim=(0, 2.5), xlabel="number of directions N", ylabel="spread of those that lead down")
    bottom.text(70, 2.2, "independent directions", color=maker.color(6))
    deviation = float(np.sqrt(theory.landscapes.index_variance(config.far)))
    bottom.set_title(f"In 10^{np.log10(config.far):.0f} directions half lead down, give or take {deviation:.2f}")
    return figure


def caption(config: Config, rows: Rows) -> str:
    exact, spread = rows.where(kind="exact"), rows.where(kind="index")
    fit = _fit(exact)
    return (
        f"A random symmetric matrix of {exact[-1]['dim']} rows has only positive eigenvalues with the chance"
        f" 10^{exact[-1]['log10']:.1f}, not 2^-N; exact values up to there give the rate {fit[0]:.6f} (ln 3 / 4 ="
        f" {np.log(3) / 4:.6f}) and 10^({-_at(fit, config.far) / np.log(10):.3e}) at N = {config.far:.0e}, where half"
        f" of the directions lead down, give or take {_far_spread(config, spread):.2f}."
    )


def _negative_counts(random: np.random.Generator, dim: int, num: int) -> np.ndarray:
    """Negative eigenvalues of `num` GOE matrices [num], without the matrices: signs of the pivots of tridiagonal ones.

    The tridiagonal matrix with N(0, 2) on its diagonal and chi_1 .. chi_(N - 1) beside it has the same eigenvalues in
    law, and by Sylvester's law as many negative ones as elimination has negative pivots. Cost: O(N) a matrix.
    """
    pivot = np.sqrt(2) * random.standard_normal(num)
    counts = (pivot < 0).astype(np.int64)
    for freedom in range(1, dim):
        pivot = np.sqrt(2) * random.standard_normal(num) - random.chisquare(freedom, num) / pivot
        counts += pivot < 0
    return counts


def _terms(size: Any) -> np.ndarray:
    """N^2, N, ln N, 1, 1 / N, 1 / N^2, the last axis."""
    size = np.asarray(size, float)
    return np.stack([size**2, size, np.log(size), np.ones_like(size), 1 / size, 1 / size**2], axis=-1)


def _fit(exact: Rows) -> np.ndarray:
    """Coefficients of these terms in -ln P, by least squares."""
    fitted = [row for row in exact if row["dim"] >= SMALLEST_FITTED]
    values = [-row["log10"] * np.log(10) for row in fitted]
    return np.linalg.lstsq(_terms([row["dim"] for row in fitted]), np.array(values), rcond=None)[0]


def _at(fit: np.ndarray, size: float) -> float:
    return float(_terms(size) @ fit)


def _line(spread: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Variance = a + b log10 N by least squares with the samples' errors; (a, b) and their covariance."""
    weights = 1 / np.array([row["error"] for row in spread])
    columns = np.stack([np.ones(len(spread)), np.log10([row["dim"] for row in spread])], axis=1) * weights[:, None]
    covariance = np.linalg.inv(columns.T @ columns)
    return covariance @ columns.T @ (weights * np.array([row["variance"] for row in spread])), covariance


def _slope(spread: Rows) -> tuple[float, float]:
    line, covariance = _line(spread)
    return float(line[1]), float(np.sqrt(covariance[1, 1]))


def _far_spread(config: Config, spread: Rows) -> float:
    """Standard deviation of the index at the far size, from the fitted line."""
    line, _ = _line(spread)
    return float(np.sqrt(max(line @ [1.0, np.log10(config.far)], 0.0)))


def _far_error(config: Config, spread: Rows) -> float:
    point = np.array([1.0, np.log10(config.far)])
    return float(np.sqrt(point @ _line(spread)[1] @ point) / (2 * max(_far_spread(config, spread), 1e-9)))


if __name__ == "__main__":
    raise SystemExit(main())
