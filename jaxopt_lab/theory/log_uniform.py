"""Sums over a log-uniform spectrum of any size, as a quadrature."""

from typing import Annotated

import numpy as np
import scipy.fft
from typing_extensions import TypeAliasType

from jaxopt_lab.theory.arguments import ConditionNumber, Whole, checked
from jaxopt_lab.theory.random_matrices import Quadrature

__all__ = ["log_uniform_quadrature"]

AtLeastTwo = TypeAliasType("AtLeastTwo", Annotated[int, Whole(2)])


@checked
def log_uniform_quadrature(dim: AtLeastTwo, kappa: ConditionNumber, num_nodes: AtLeastTwo = 2**14) -> Quadrature:
    """Nodes and weights for sums over the eigenvalues kappa^(i / (d - 1) - 1), i = 0 .. d - 1.

    The sum is an integral plus half of both ends (Euler and Maclaurin), the integral taken by Fejer's first rule with
    `num_nodes` nodes, which lie dense at the ends, where the responses of momentum methods change fastest: a few
    thousand serve spectra of 1e8 eigenvalues. A spectrum of at most `num_nodes` eigenvalues is returned as it is.

    Returns:
      The quadrature; its weights sum to d, its first eigenvalue is the smallest, its last the largest, 1.

    Example:
      >>> nodes = log_uniform_quadrature(1_000_000, 1e4)
      >>> print(f"{nodes.weights.sum():.0f} {nodes.weights @ nodes.eigenvalues / 1e6:.9f}")
      1000000 0.108563155

    Reference: Olver, Asymptotics and Special Functions, 1974, section 8.1; Waldvogel, Fast construction of the Fejer
    and Clenshaw-Curtis quadrature rules, 2006.
    """
    kappa = float(kappa)
    if dim <= num_nodes:
        return Quadrature(kappa ** (np.arange(dim) / (dim - 1) - 1), np.ones(dim))
    angle = (np.arange(num_nodes) + 0.5) * np.pi / num_nodes
    order = np.arange(num_nodes)
    moments = np.where(order % 2 == 0, 2 / (1 - np.square(order, dtype=float) + (order % 2)), 0)  # of Chebyshev's T_j
    inner = scipy.fft.dct(moments, type=3) / (2 * num_nodes)
    place = np.concatenate([[0.0], (1 - np.cos(angle)) / 2, [1.0]])
    return Quadrature(kappa ** (place - 1), np.concatenate([[0.5], (dim - 1) * inner, [0.5]]))
