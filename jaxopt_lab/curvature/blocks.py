"""Curvature block by block: the spectrum of each layer's own diagonal block, and how much the layers differ.

    H_bb v   for the parameters of one block b, all others held fixed

Heterogeneity is the mean over all pairs of blocks of the Jensen-Shannon distance between their densities of eigenvalues
on one logarithmic axis, both signs apart: 0 when all blocks have the same spectrum, 1 when no two overlap.

Reference: Zhang, Chen, Ding, Li, Sun, Luo 2024, Why transformers need Adam: a Hessian perspective, arXiv 2402.16788.
"""

import dataclasses
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import jax
import numpy as np
from scipy.special import xlogy

from jaxopt_lab.core import Estimate, Problem, fail
from jaxopt_lab.core.errors import require_count, require_positive
from jaxopt_lab.core.vectors import parameter_paths
from jaxopt_lab.curvature.densities import Density, density_of
from jaxopt_lab.curvature.lanczos import eigenpairs
from jaxopt_lab.curvature.operators import Operator
from jaxopt_lab.curvature.products import hessian
from jaxopt_lab.curvature.quadratures import Quadrature, gauss_quadratures
from jaxopt_lab.curvature.streams import Source
from jaxopt_lab.curvature.traces import half_width, trace


@dataclasses.dataclass(frozen=True)
class BlockSpectrum:
    """The spectrum of one diagonal block.

    Attributes:
      name: path of the block; "" for all parameters.
      size: its number of parameters.
      largest: its largest eigenvalue.
      trace: its trace.
      density: its density of eigenvalues, on a logarithmic axis of its own.
      notes: what the operator says about itself.
    """

    name: str
    size: int
    largest: Estimate
    trace: Estimate
    density: Density
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class BlockSpectra:
    """The blocks' spectra.

    Attributes:
      blocks: one for each block, in the order of the parameters.
      heterogeneity: mean pairwise Jensen-Shannon distance in [0, 1], with a jackknife interval over the probes; 0 for a
        single block.
    """

    blocks: tuple[BlockSpectrum, ...]
    heterogeneity: Estimate

    @property
    def products(self) -> int:
        """Products spent, each with one block."""
        return sum(block.largest.cost + block.trace.cost + block.density.products for block in self.blocks)


def block_spectra(
    problem: Problem,
    params: Any,
    *,
    blocks: Sequence[str] | None = None,
    depth: int | None = None,
    make_operator: Callable[..., Operator] = hessian,
    data: Source = None,
    chunk_size: int | None = None,
    tolerance: float = 1e-3,
    num_products: int = 30,
    num_probes: int = 4,
    num_steps: int = 24,
    key: jax.Array | None = None,
) -> BlockSpectra:
    """The top eigenvalue, the trace and the density of each block, and their heterogeneity.

    Args:
      problem: as in `hessian`.
      params: the point.
      blocks: paths of the blocks, as `parameter_paths` gives them or beginnings of those; by default those of `depth`.
      depth: parts of a path that name a block; by default each innermost module is one, see `block_names`.
      make_operator: `hessian`, `gauss_newton`, or another with the same arguments.
      data: as in `hessian`.
      chunk_size: as in `hessian`.
      tolerance: of the eigenvalues, relative.
      num_products: the most products for each trace, at least 4.
      num_probes: probes of each density, at least 2.
      num_steps: products for each probe.
      key: PRNG key; 0 by default.

    Returns:
      The spectra. Cost: for each block about 20 + num_products + num_probes num_steps products.

    Raises:
      InputError: an argument out of its range, an unknown block, or what `make_operator` raises.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxopt_lab as lab
      >>> params = {"in": jnp.ones(2), "out": jnp.ones(3)}
      >>> problem = lab.from_loss(lambda w, batch, key: jnp.sum(w["in"] ** 2) + 50 * jnp.sum(w["out"] ** 2), params)
      >>> found = block_spectra(problem, params)
      >>> [(block.name, round(block.largest.value, 3), round(block.trace.value, 3)) for block in found.blocks]
      [('in', 2.0, 4.0), ('out', 100.0, 300.0)]
      >>> f"{found.heterogeneity.value:.2f}"
      '1.00'
    """
    require_count("block_spectra", "num_probes", num_probes, 2)
    key = jax.random.key(0) if key is None else key
    names = block_names(params, depth) if blocks is None else list(blocks)
    if not names or len(set(names)) < len(names):
        raise fail("block_spectra", f"blocks must name at least one block, each once, got {names}")
    found = []
    for name, draw in zip(names, jax.random.split(key, len(names)), strict=True):
        operator = make_operator(problem, params, data=data, chunk_size=chunk_size, block=name or None)
        found.append(_spectrum(name, operator, tolerance, num_products, num_probes, num_steps, draw))
    return BlockSpectra(tuple(found), heterogeneity([block.density.quadratures for block in found]))


def block_names(params: Any, depth: int | None = None) -> list[str]:
    """The beginnings of the parameters' paths that name their blocks.

    Args:
      params: any pytree.
      depth: number of parts; by default one block for each innermost module, whose parameters differ in the last part
        alone, and one for each parameter outside of such.

    Raises:
      InputError: a depth below 1.

    Example:
      >>> params = {"hidden": {"0": {"w": 1, "b": 2}, "1": {"w": 3, "b": 4}}, "scale": 5}
      >>> block_names(params)
      ['hidden/0', 'hidden/1', 'scale']
      >>> block_names(params, depth=1)
      ['hidden', 'scale']
    """
    paths = parameter_paths(params)
    if depth is not None:
        require_count("block_names", "depth", depth)
        return list(dict.fromkeys("/".join(path.split("/")[:depth]) for path in paths))
    modules = {path.rpartition("/")[0] for path in paths}
    outer = {"/".join(module.split("/")[:k]) for module in modules for k in range(module.count("/") + 1)}
    found = [(path, path.rpartition("/")[0]) for path in paths]
    return list(dict.fromkeys(path if module in outer else module for path, module in found))


def heterogeneity(
    quadratures: Sequence[Sequence[Quadrature]], *, width: float = 0.25, decades: float = 8.0, level: float = 0.95
) -> Estimate:
    """The mean Jensen-Shannon distance between the densities of all pairs of blocks.

    Args:
      quadratures: for each block its probes' quadratures; as many probes for each, at least 2.
      width: standard deviation of the densities' kernel, in decades, > 0.
      decades: the axis reaches so far below the largest |eigenvalue| of all blocks; what lies below counts as zero.
      level: confidence of the jackknife interval over the probes.

    Returns:
      A number in [0, 1], the root of the divergence in bits; products counted.

    Raises:
      InputError: an argument out of its range.
    """
    require_positive("heterogeneity", "width", width)
    require_positive("heterogeneity", "decades", decades)
    cost = sum(rule.products for rules in quadratures for rule in rules)
    if len(quadratures) < 2:
        return Estimate(0.0, 0.0, (0.0, 0.0), 1.0, cost)
    top = max(float(np.abs(rule.rule[0]).max()) for rules in quadratures for rule in rules) or 1.0
    axis = np.log10(top) + np.arange(-decades, 5 * width, width / 4)
    shares = np.array([[_shares(rule, axis, width) for rule in rules] for rules in quadratures])
    value, num = _mean_distance(shares.mean(1)), shares.shape[1]
    without = np.array([_mean_distance(np.delete(shares, probe, 1).mean(1)) for probe in range(num)])
    pseudo = num * value - (num - 1) * without
    half, error = half_width(pseudo, level), float(pseudo.std(ddof=1) / np.sqrt(num))
    return Estimate(value, error, (max(value - half, 0.0), min(value + half, 1.0)), level, cost)


def _spectrum(
    name: str,
    operator: Operator,
    tolerance: float,
    num_products: int,
    num_probes: int,
    num_steps: int,
    key: jax.Array,
) -> BlockSpectrum:
    top_key, trace_key, probe_key = jax.random.split(key, 3)
    ends = eigenpairs(operator, tolerance=tolerance, verify=False, key=top_key)
    value, error = float(ends.largest.values[0]), float(ends.largest.errors[0])
    return BlockSpectrum(
        name=name,
        size=operator.size,
        largest=Estimate(value, interval=(value - error, value + error), level=1.0, cost=ends.products),
        trace=trace(operator, num_products=num_products, key=trace_key),
        density=density_of(gauss_quadratures(operator, num_probes, num_steps, probe_key), "log"),
        notes=operator.notes,
    )


def _shares(rule: Quadrature, axis: np.ndarray, width: float) -> np.ndarray:
    """The probe's mass by place on the axis: negative, near zero, positive; adds up to 1."""
    nodes, weights = rule.rule
    small = np.abs(nodes) < 10 ** axis[0]
    places = np.log10(np.where(small, 1.0, np.abs(nodes)))
    kernel = np.exp(-0.5 * np.square((axis[:, None] - places) / width))
    kernel = kernel / kernel.sum(0)
    sides = [kernel @ np.where(~small & (np.sign(nodes) == sign), weights, 0.0) for sign in (-1, 1)]
    return np.concatenate([sides[0], [weights[small].sum()], sides[1]])


def _mean_distance(shares: np.ndarray) -> float:
    """The mean over all pairs of rows [blocks, places] of the Jensen-Shannon distance."""
    return float(np.mean([_distance(first, second) for first, second in combinations(shares, 2)]))


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    middle = (first + second) / 2
    entropies = [-xlogy(shares, shares).sum() for shares in (middle, first, second)]
    return float(np.sqrt(max(entropies[0] - (entropies[1] + entropies[2]) / 2, 0.0) / np.log(2)))
