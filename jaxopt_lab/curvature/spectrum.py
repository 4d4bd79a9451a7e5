"""The spectrum of a problem's Hessian at a point: ends, density, index, condition number, noise scale, layers."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import numpy as np

from jaxopt_lab import curvature
from jaxopt_lab.core import Estimate, Problem, vectors
from jaxopt_lab.core.errors import require_count
from jaxopt_lab.curvature.blocks import BlockSpectra, block_names
from jaxopt_lab.curvature.conditioning import ConditionNumber
from jaxopt_lab.curvature.densities import Density, density_of
from jaxopt_lab.curvature.directions import Alignment
from jaxopt_lab.curvature.indices import Index, index_of
from jaxopt_lab.curvature.journals import Progress
from jaxopt_lab.curvature.lanczos import Eigenpairs, Ends
from jaxopt_lab.curvature.noise import NoiseScale
from jaxopt_lab.curvature.points import locate
from jaxopt_lab.curvature.quadratures import gauss_quadratures
from jaxopt_lab.reporting.outcomes import Reported

_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Spectrum(Reported):
    """What was measured at one point.

    Attributes:
      name: of the operator.
      size: number of parameters d.
      loss: the loss at the point.
      gradient_norm: the norm of its gradient.
      condition: the condition number, with the eigenpairs at both ends behind it.
      trace: sum of the eigenvalues.
      index: shares of negative and positive eigenvalues.
      linear: the density on a linear axis.
      logarithmic: the same on a logarithmic axis.
      alignment: share of |gradient|^2 in the span of the top eigenvectors, [k].
      noise: noise scales, or None for a problem without data.
      blocks: the layers' own spectra, or None.
      products: Hessian products spent on the whole network.
      notes: what a reader must know.
    """

    _report: ClassVar[str] = "jaxopt_lab.curvature.spectrum_figure"

    name: str
    size: int
    loss: float
    gradient_norm: float
    condition: ConditionNumber
    trace: Estimate
    index: Index
    linear: Density
    logarithmic: Density
    alignment: Alignment
    noise: NoiseScale | None
    blocks: BlockSpectra | None
    products: int
    notes: tuple[str, ...]

    @property
    def ends(self) -> Ends:
        """The eigenpairs at both ends."""
        return self.condition.ends

    def __str__(self) -> str:
        shares = self.alignment.shares
        found = [
            f"{self.name}: {self.size:,} parameters, loss {self.loss:.6g}, |gradient| {self.gradient_norm:.4g}",
            f"largest eigenvalues   {_values(self.ends.largest)}",
            f"smallest eigenvalues  {_values(self.ends.smallest)}",
            f"copies searched for   {'yes, none is missing' if self.ends.verified else 'no: some may be missing'}",
            f"condition number      {self.condition}",
            f"trace                 {_enclosure(self.trace)}, mean eigenvalue {self.trace.value / self.size:.3g}",
            f"index                 {self.index}",
            f"gradient alignment    {shares[-1]:.1%} of its square in the top {len(shares)} eigenvectors",
        ]
        if self.noise is not None:
            found.append(f"noise scale           {_scale(self.noise)}")
        if self.blocks is not None:
            found += ["", *_table(self.blocks)]
        return "\n".join([*found, *([""] if self.notes else []), *self.notes, f"{self.products} Hessian products."])

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain lists and dictionaries."""
        sides = {"largest": self.ends.largest, "smallest": self.ends.smallest}
        pairs = {
            name: {"values": side.values, "errors": side.errors, "converged": side.converged.tolist()}
            for name, side in sides.items()
        }
        estimates = {"trace": self.trace, "condition_number": self.condition.absolute, "negative": self.index.negative}
        estimates |= {"condition_number_positive_part": self.condition.positive, "positive": self.index.positive}
        if self.noise is not None:
            estimates["noise_scale_simple"] = self.noise.simple
        return {
            "name": self.name, "size": self.size, "loss": self.loss, "gradient_norm": self.gradient_norm, **pairs,
            "threshold": self.index.threshold, "verified": self.ends.verified, "products": self.products,
            "density": _density_json(self.logarithmic),
            "notes": list(self.notes), "estimates": {name: dataclasses.asdict(e) for name, e in estimates.items()},
            "blocks": [] if self.blocks is None else [
                {"name": b.name, "size": b.size, "largest": b.largest.value, "trace": b.trace.value}
                for b in self.blocks.blocks
            ],
        }  # fmt: skip


def measure_spectrum(
    problem: Problem,
    params: Any,
    *,
    num_largest: int = 10,
    num_smallest: int = 3,
    num_probes: int = 4,
    num_steps: int = 40,
    max_products: int = 300,
    layers: bool = True,
    make_operator: Callable[..., curvature.Operator] = curvature.hessian,
    seed: int = 0,
    log: Callable[[str], None] | None = None,
) -> Spectrum:
    """Measures the spectrum of a problem at a point.

    Args:
      problem: any problem.
      params: the point.
      num_largest: eigenpairs at the upper end.
      num_smallest: eigenpairs at the lower end.
      num_probes: probes of the density, at least 2.
      num_steps: products for each probe.
      max_products: the most products for the eigenpairs; what has not converged by then comes as a bound.
      layers: measure each layer's own block too.
      make_operator: `curvature.hessian`, `curvature.gauss_newton` or `curvature.fisher`.
      seed: seeds the random vectors.
      log: told what is being done, a sentence at a time.

    Returns:
      The spectrum. Cost: about max_products + num_probes num_steps + 60 products, and as many for the layers.

    Raises:
      InputError: as in `curvature.hessian` and `curvature.eigenpairs`.
    """
    require_count("measure_spectrum", "num_probes", num_probes, 2)
    log = log or (lambda sentence: None)
    keys = jax.random.split(jax.random.key(seed), 5)
    point = locate(problem, params)
    operator = make_operator(problem, params)
    num_largest, num_smallest = min(num_largest, operator.size), min(num_smallest, operator.size)
    log(f"{operator.name}: {operator.size:,} parameters. Both ends of the spectrum ...")
    condition = curvature.condition_number(
        operator, num_largest=num_largest, num_smallest=num_smallest, tolerance=1e-4, max_products=max_products,
        key=keys[0], progress=_Forecast(log),
    )  # fmt: skip
    log("Density ...")
    rules = gauss_quadratures(operator, num_probes, num_steps, keys[1])
    trace = curvature.trace(operator, num_products=30, key=keys[2])
    products = condition.ends.products + sum(rule.products for rule in rules) + trace.cost
    noise = None
    if problem.num_examples and problem.num_examples >= 64:
        log("Gradient noise ...")
        noise = curvature.noise_scale(problem, params, key=keys[3])
    blocks = None
    if layers and len(block_names(params)) > 1:
        log("Layers ...")
        blocks = curvature.block_spectra(problem, params, make_operator=make_operator, key=keys[4])
    return Spectrum(
        name=operator.name,
        size=operator.size,
        loss=point.value,
        gradient_norm=float(vectors.norm(point.gradient)),
        condition=condition,
        trace=trace,
        index=index_of(rules, operator.size),
        linear=density_of(rules),
        logarithmic=density_of(rules, "log"),
        alignment=curvature.gradient_alignment(point.gradient, condition.ends.largest),
        noise=noise,
        blocks=blocks,
        products=products,
        notes=operator.notes,
    )


class _Forecast:
    """Says every few seconds how far a search is."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log, self._said = log, 0.0

    def __call__(self, progress: Progress) -> None:
        if progress.seconds - self._said < _SECONDS:
            return
        self._said = progress.seconds
        left = "" if progress.seconds_left is None else f", about {progress.seconds_left:.0f} s more"
        self._log(f"  {progress.products} products in {progress.seconds:.0f} s{left}")


def _density_json(density: Density) -> dict[str, Any]:
    """The density over powers of ten: shares per decade of |eigenvalue| with their errors."""
    parts = {"grid": density.grid, "positive": density.values, "positive_errors": density.errors}
    parts |= {"negative": density.negative, "negative_errors": density.negative_errors}
    return {name: np.asarray(value).tolist() for name, value in parts.items()} | {"near_zero": density.near_zero}


def _values(side: Eigenpairs) -> str:
    shown = [
        f"{value:.5g} +- {error:.1g}" + ("" if converged else " (not converged)")
        for value, error, converged in zip(side.values, side.errors, side.converged, strict=True)
    ]
    return ", ".join(shown[:4]) + (f", ... ({len(shown)} in all)" if len(shown) > 4 else "")


def _enclosure(estimate: Estimate) -> str:
    low, high = estimate.interval or (np.nan, np.nan)
    return f"{estimate.value:.5g} in [{low:.5g}, {high:.5g}]"


def _scale(noise: NoiseScale) -> str:
    low, high = noise.simple.interval or (np.nan, np.nan)
    if not np.isfinite(high):
        return f"at least {low:.3g} examples (the gradient is too small to tell)"
    return f"{noise.simple.value:.3g} examples in [{low:.3g}, {high:.3g}]"


def _table(blocks: BlockSpectra) -> list[str]:
    width = max(len("layer"), *(len(block.name) for block in blocks.blocks))
    rows = [f"{'layer':{width}}{'parameters':>12}{'largest':>12}{'trace':>12}{'mean':>12}"]
    rows += [
        f"{block.name:{width}}{block.size:>12,}{block.largest.value:>12.4g}{block.trace.value:>12.4g}"
        f"{block.trace.value / block.size:>12.3g}"
        for block in blocks.blocks
    ]
    low, high = blocks.heterogeneity.interval or (np.nan, np.nan)
    return [
        *rows,
        f"heterogeneity of the layers {blocks.heterogeneity.value:.2f} in [{low:.2f}, {high:.2f}] (0 alike, 1 apart)",
    ]
