"""The probability that all eigenvalues of a random symmetric (GOE) matrix are positive, exactly, as a Pfaffian.

    P_N = N! Pf(a) / Z_N
    a_ij = I_ij - I_ji,   I_ij = integral over 0 < x < y of x^i y^j exp(-(x^2 + y^2) / 2),   i, j = 0 .. N - 1
    Z_N = (2 pi)^(N / 2) prod_(j = 1 .. N) Gamma(1 + j / 2) / Gamma(3 / 2)

The eigenvalues' density is prod_(i < j) |x_i - x_j| exp(-sum x_i^2 / 2) / Z_N (Mehta's integral). In increasing order
the product is a determinant of powers, and the integral of a determinant over ordered points is a Pfaffian (de Bruijn);
an odd N has one more row and column, the integrals of x^i exp(-x^2 / 2). Integration by parts gives

    I_ij = Gamma((i + j) / 2) / 2 + (j - 1) I_i,j-2   for j >= 1,  and a like step in i.

The entries are rationals times 1, sqrt(pi), sqrt(2 pi) and pi; about the first 1.1 N digits cancel, so that the
arithmetic is decimal with 60 + 2 N digits.
"""

import decimal
import math
from decimal import Decimal

from jaxopt_lab.theory.arguments import Count, checked

__all__ = ["minimum_probability"]

Matrix = list[list[Decimal]]


@checked
def minimum_probability(dim: Count) -> Decimal:
    """Probability that a random symmetric matrix with Gaussian entries (GOE) of N rows is positive definite.

    It is the chance that a critical point with such a Hessian is a minimum; the scale of the entries does not matter.

    Returns:
      The probability to 28 digits, as a Decimal: at N = 80 it is below the smallest float. Cost: O(N^3) operations on
      numbers of 60 + 2 N digits, 0.3 s at N = 80.

    Example:
      >>> [f"{minimum_probability(dim):.7E}" for dim in (1, 2, 10, 20)]
      ['5.0000000E-1', '1.4644661E-1', '2.2656532E-14', '7.7978756E-52']

    Reference: de Bruijn 1955, On some multiple integrals involving determinants, J. Indian Math. Soc. 19; Mehta, Random
    Matrices, chapter 17, for Z_N; Dean and Majumdar 2006, PRL 97, 160201, for the asymptote.
    """
    with decimal.localcontext() as context:
        context.prec = 60 + 2 * dim
        root_pi = _pi().sqrt()
        probability = math.factorial(dim) * _pfaffian(_pair_integrals(dim, root_pi)) / _mehta(dim, root_pi)
    with decimal.localcontext() as context:
        context.prec = 28
        return +probability


def _pair_integrals(dim: int, root_pi: Decimal) -> Matrix:
    """The antisymmetric a [N, N], and for odd N its border, from integration by parts."""
    root_two = Decimal(2).sqrt()
    half = [_gamma_of_half(m + 1, root_pi) for m in range(2 * dim)]  # half[m] / 2 is the integral of x^m exp(-x^2)
    border = [Decimal(2) ** (m // 2) * half[m] / (1 if m % 2 else root_two) for m in range(dim)]  # x^m exp(-x^2 / 2)
    integrals = [[Decimal(0)] * dim for _ in range(dim)]
    for i in range(dim):
        for j in range(dim):
            if j > 0:
                below = (j - 1) * integrals[i][j - 2] if j > 1 else Decimal(0)
                integrals[i][j] = half[i + j - 1] / 2 + below
            elif i > 0:
                below = border[0] if i == 1 else (i - 1) * integrals[i - 2][0]
                integrals[i][j] = below - half[i - 1] / 2
            else:
                integrals[i][j] = root_pi**2 / 4
    matrix = [[integrals[i][j] - integrals[j][i] for j in range(dim)] for i in range(dim)]
    if dim % 2:
        matrix = [[*row, edge] for row, edge in zip(matrix, border, strict=True)]
        matrix.append([*(-edge for edge in border), Decimal(0)])
    return matrix


def _pfaffian(matrix: Matrix) -> Decimal:
    """Pfaffian by elimination of two rows and columns at a time, the largest entry of the first row as pivot."""
    rest, value = [row[:] for row in matrix], Decimal(1)
    while rest:
        first = rest[0]
        pivot = max(range(1, len(first)), key=lambda place: abs(first[place]))
        if pivot != 1:
            rest[1], rest[pivot] = rest[pivot], rest[1]
            for row in rest:
                row[1], row[pivot] = row[pivot], row[1]
            value = -value
        first, second = rest[0], rest[1]
        value *= first[1]
        rest = [
            [
                entry + (second[i] * first[j] - first[i] * second[j]) / first[1] if j > i else Decimal(0)
                for j, entry in enumerate(rest[i][2:], 2)
            ]
            for i in range(2, len(first))
        ]
        for i, row in enumerate(rest):
            for j in range(i):
                row[j] = -rest[j][i]
    return value


def _mehta(dim: int, root_pi: Decimal) -> Decimal:
    """Z_N: the integral of prod |x_i - x_j| exp(-sum x_i^2 / 2) over all of space."""
    value = (Decimal(2).sqrt() * root_pi) ** dim
    for j in range(1, dim + 1):
        value *= _gamma_of_half(j + 2, root_pi) / _gamma_of_half(3, root_pi)
    return value


def _gamma_of_half(count: int, root_pi: Decimal) -> Decimal:
    """Gamma(count / 2), count >= 1."""
    value = root_pi if count % 2 else Decimal(1)
    for step in range(2 - count % 2, count, 2):
        value *= Decimal(step) / 2
    return value


def _pi() -> Decimal:
    """Pi to the digits of the context, by the arithmetic-geometric mean (Brent 1976, Salamin 1976)."""
    with decimal.localcontext() as context:
        context.prec += 10
        a, b, t, weight = Decimal(1), 1 / Decimal(2).sqrt(), Decimal(1) / 4, 1
        for _ in range(context.prec.bit_length() + 2):
            mean = (a + b) / 2
            a, b, t, weight = mean, (a * b).sqrt(), t - weight * (a - mean) ** 2, 2 * weight
        return (a + b) ** 2 / (4 * t)
