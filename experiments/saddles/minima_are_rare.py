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
from jaxopt_lab.core import Verdict, require_between
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main, measures
from jaxopt_lab.studies.fields import Count, Increasing, Must, Whole, configclass
from jaxopt_lab.studies.verdicts import at_most, everywhere, relative, within

DEAN = "Dean and Majumdar 2006, PRL 97, 160201"
MAJUMDAR = "Majumdar et al. 2011, Phys. Rev. E 83, 041105"
BRUIJN = "de Bruijn 1955, J. Indian Math. Soc. 19"
LECTURE = "CS231n 2017, lecture 7"
SMALLEST_FITTED = 10
SIZES = Increasing("hold at least two numbers that increase")
FITTED = Must(f"hold six sizes of at least {SMALLEST_FITTED}", lambda dims: sum(n >= SMALLEST_FITTED for n in dims) > 5)


@configclass
class Config:
    """All that can change a number. The matrices are N x N, symmetric, with Gaussian entries; their scale is free."""

    dims: Annotated[tuple[Count, ...], SIZES, FITTED] = (2, 3, 4, 5, 6, 8, 10, 20, 30, 40, 50, 60, 70, 80)
    """Sizes N of the exact probabilities, increasing; the fit of the asymptote takes those from 10 on, at least 6."""
    sampled_dims: Annotated[tuple[int, ...], SIZES, Whole(2)] = (2, 3, 4, 5)
    """Sizes N at which the probability is also sampled."""
    num_matrices: Annotated[int, Whole(2)] = 200_000
    """Random matrices at each of them, a count."""
    index_dims: Annotated[tuple[int, ...], SIZES, Whole(2)] = (10, 100, 1_000, 10_000)
    """Sizes N at which the number of negative eigenvalues is sampled, increasing."""
    num_spectra: Annotated[int, Whole(2)] = 10_000
    """Random tridiagonal matrices at each of them, a count."""
    far: float = 1e8
    """The size N to which the fits are continued."""
    seed: int = 0
    """Seeds the matrices."""

    def __post_init__(self) -> None:
        require_between("minima_are_rare", "far", self.far, self.dims[-1], 1e12)


LARGER = (2, 3, 4, 5, 6, 8, 10, 20, 30, 40, 50, 60, 70, 80, 100, 120)
PRESETS = {
    "quick": Config(),
    "full": Config(LARGER, num_matrices=2_000_000, index_dims=(10, 100, 1_000, 10_000, 100_000), num_spectra=20_000),
    "huge": Config(index_dims=(100, 10_000, 1_000_000, 100_000_000), num_spectra=400, num_matrices=2_000_000),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row an exact probability, one a sampled one, one a sampled number of negative eigenvalues."""
    law = theory.positivity.minimum_probability
    rows: list[dict[str, Any]] = [
        {"kind": "exact", "dim": dim, "log10": float(law(dim).log10())} for dim in config.dims
    ]
    for dim in config.sampled_dims:
        entries = np.random.default_rng([config.seed, dim]).standard_normal((config.num_matrices, dim, dim))
        share, exact = np.mean(np.linalg.eigvalsh(entries + entries.transpose(0, 2, 1))[:, 0] > 0), float(law(dim))
        error = float(np.sqrt(exact * (1 - exact) / config.num_matrices))
        rows.append({"kind": "sampled", "dim": dim, "share": float(share), "predicted": exact, "error": error})
    for dim in config.index_dims:
        random = np.random.default_rng([config.seed, dim])
        counts = theory.random_matrices.sample_negative_counts(dim, config.num_spectra, random)
        variance = float(counts.var(ddof=1))
        # The counts are nearly Gaussian, so that a sample variance has this error.
        error = variance * float(np.sqrt(2 / (config.num_spectra - 1)))
        rows.append({"kind": "index", "dim": dim, "variance": variance, "error": error, "mean": float(counts.mean()),
                     "predicted": float(theory.landscapes.index_variance(dim))})  # fmt: skip
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Sampled against exact, the rate and the value at 1e8, independent directions, and the spread of the index."""
    exact, sampled, spread = (rows.where(kind=kind) for kind in ("exact", "sampled", "index"))
    (rate, log10), last, first, far = _fit(config, exact), exact[-1], spread[0], f"N = {config.far:.0e}"
    (_, slope), covariance = _line(spread)
    return [
        everywhere("The Pfaffian is the probability that a random symmetric matrix has no negative eigenvalue",
                   f"share of {config.num_matrices:,} matrices where it is furthest off, N = {{dim}}", sampled, "share",
                   "predicted", errors="error", reference=BRUIJN),
        # The fit leaves out N^-3 and below: 1e-6 of the rate with sizes up to 32, 1e-8 up to 80.
        relative("The probability falls as exp(-rate N^2)", f"rate fitted to exact values up to N = {last['dim']}",
                 np.log(3) / 4, rate, 1e-5, reference=DEAN),
        relative("A critical point half way up is a minimum with this chance",
                 f"log10 of the chance at {far}, from the fit",
                 float(theory.landscapes.log10_minimum_probability(config.far)), log10, 1e-5, reference=DEAN),
        at_most("Minima are rarer than independent directions would have it: 2^-N",
                f"log10 of the chance at N = {last['dim']}", -last["dim"] * np.log10(2), last["log10"],
                reference=LECTURE),
        everywhere("The number of directions down varies as the logarithm says",
                   "variance where it is furthest off, N = {dim:,}", spread, "variance", "predicted", errors="error",
                   reference=MAJUMDAR),
        within("Ten times the dimension adds ln 10 / pi^2 to the variance", "variance per decade of N",
               np.log(10) / np.pi**2, float(slope), float(np.sqrt(covariance[1, 1])), reference=MAJUMDAR),
        within(f"At {far} half of the directions lead down, give or take 1.5",
               "standard deviation of their number, continued from the samples",
               float(np.sqrt(theory.landscapes.index_variance(config.far))), *_far_spread(config, spread),
               reference=MAJUMDAR),
        at_most("Independent directions would vary far more", f"variance at N = {first['dim']}", first["dim"] / 4,
                first["variance"], reference=LECTURE),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """The logarithm of the chance of a minimum against N; below, the spread of the index."""
    figure, (top, bottom) = maker.axes(2, height=7.0)
    exact, spread = rows.where(kind="exact"), rows.where(kind="index")
    end, lowest = exact[-1]["dim"], exact[-1]["log10"]
    sizes = np.linspace(2, end, 100)
    maker.predicted(top, sizes, theory.landscapes.log10_minimum_probability(sizes))
    maker.measured(top, exact["dim"], exact["log10"], color=1)
    maker.predicted(top, sizes, -sizes * np.log10(2), color=6, linestyle=":")
    top.text(0.62 * end, 0.05 * lowest, "independent directions", va="top", color=maker.color(6))
    top.text(0.3 * end, 0.5 * lowest, "random matrix", ha="center", color=maker.color(0))
    top.set(xlabel="number of directions N", ylabel="log10 of the chance that all lead up",
            ylim=(1.03 * lowest, -0.02 * lowest),
            title=f"All {end} directions up: once in 10^{-lowest:.0f} random matrices")  # fmt: skip
    sizes = np.geomspace(spread[0]["dim"], config.far, 100)
    law = np.sqrt(theory.landscapes.index_variance(sizes))
    maker.predicted(bottom, sizes, law)
    maker.predicted(bottom, sizes, np.sqrt(sizes) / 2, color=6, linestyle=":")
    deviation = np.sqrt(spread["variance"])
    bottom.errorbar(spread["dim"], deviation, yerr=2 * spread["error"] / deviation, fmt="o", color=maker.color(1),
                    zorder=3)  # fmt: skip
    bottom.text(70, 2.2, "independent directions", color=maker.color(6))
    told = f"In 10^{np.log10(config.far):.0f} directions half lead down, give or take {law[-1]:.2f}"
    bottom.set(xscale="log", ylim=(0, 2.5), xlabel="number of directions N", ylabel="spread of those that lead down",
               title=told)  # fmt: skip
    return figure


def caption(config: Config, rows: Rows) -> str:
    exact = rows.where(kind="exact")
    rate, log10 = _fit(config, exact)
    return (
        f"A random symmetric matrix of {exact[-1]['dim']} rows has only positive eigenvalues with the chance"
        f" 10^{exact[-1]['log10']:.1f}, not 2^-N; exact values up to there give the rate {rate:.6f} (ln 3 / 4 ="
        f" {np.log(3) / 4:.6f}) and 10^({log10:.3e}) at N = {config.far:.0e}, where half"
        f" of the directions lead down, give or take {_far_spread(config, rows.where(kind='index'))[0]:.2f}."
    )


def _fit(config: Config, exact: Rows) -> tuple[float, float]:
    """The rate of N^2 in -ln P, and log10 P at the far size, from least squares with the terms of its expansion."""

    def terms(size: Any) -> np.ndarray:
        size = np.asarray(size, float)
        return np.stack([size**2, size, np.log(size), np.ones_like(size), 1 / size, 1 / size**2], axis=-1)

    fitted = exact.where(dim=lambda dim: dim >= SMALLEST_FITTED)
    fit = np.linalg.lstsq(terms(fitted["dim"]), -fitted["log10"] * np.log(10), rcond=None)[0]
    return fit[0], -float(terms(config.far) @ fit) / np.log(10)


def _line(spread: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Variance = a + b log10 N, with the samples' errors; (a, b) and their covariance."""
    return measures.weighted_line(np.log10(spread["dim"]), spread["variance"], spread["error"])


def _far_spread(config: Config, spread: Rows) -> tuple[float, float]:
    """Standard deviation of the index at the far size, from the fitted line, and its error."""
    (line, covariance), point = _line(spread), np.array([1.0, np.log10(config.far)])
    value = float(np.sqrt(max(line @ point, 0.0)))
    return value, float(np.sqrt(point @ covariance @ point) / (2 * max(value, 1e-9)))


if __name__ == "__main__":
    raise SystemExit(main())
