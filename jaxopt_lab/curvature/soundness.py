"""Is the product a fixed symmetric linear map? Asked once of each operator, before anything is certified of it.

    A (u + v) = A u + A v,        u' A v = v' A u        for random u and v

The first holds up to rounding where a product repeated is the same product: not where the examples change from pass to
pass. What it misses, |A (u + v) - A u - A v|, is the rounding error of a product in use, whatever the precision inside;
of a symmetric operator the second misses as much, and not many times more. An operator that is sound by construction,
derivatives of a loss over arrays or a matrix that was looked at when it was made, is not asked.
"""

import dataclasses
import math
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import fail, meshes, vectors
from jaxopt_lab.curvature import krylov
from jaxopt_lab.curvature.operators import Operator, random_direction

_PRODUCTS = 3
_SEED = 12
# Of a product that rounding has eaten up to here, one digit is left.
_MOST_EATEN = 1 / 8
# |A (u + v) - A u - A v| is the sum of three rounding errors, of one direction for an error that does not scale with
# the vector; a third of that is a single one.
_OF_ONE_PRODUCT = 4.0
_CHECKED: weakref.WeakKeyDictionary[Operator, float] = weakref.WeakKeyDictionary()


def require_sound(operator: Operator) -> tuple[Operator, int]:
    """Checks an operator that was not checked before.

    Args:
      operator: symmetric, d rows.

    Returns:
      The operator, with the rounding error that its products were seen to have where that is larger than it says; and
      the products that it took: 3, or 0 for an operator that is sound by construction or was checked before.

    Raises:
      InputError: a product repeated differs by more than its rounding error, the product is not symmetric, or it is not
        finite.

    Example:
      >>> from jaxopt_lab.curvature import operator
      >>> twice = operator(jax.tree_util.Partial(lambda v: 2 * v), jnp.zeros(3))
      >>> require_sound(twice)[1], require_sound(twice)[1]
      (3, 0)
    """
    if operator.sound:
        return operator, 0
    if operator in _CHECKED:
        return _with_error(operator, _CHECKED[operator]), 0
    left, right = (random_direction(key, operator.like) for key in jax.random.split(jax.random.key(_SEED)))
    images = operator(left), operator(right)
    scales, crossed, both = meshes.settled(_symmetry(left, right, *images))
    del left, right
    defect = float(_defect(operator(both), *images))
    one, other = np.asarray(crossed, np.float64)
    scale = float(np.asarray(scales, np.float64).sum())
    if not np.isfinite([defect, one, other, scale]).all():
        raise fail(
            operator.name, "a product is not finite",
            "The loss is not twice differentiable at this point, or it overflows there.",
        )  # fmt: skip
    rounding, seen = krylov.BREAKDOWN * operator.epsilon * scale, 0.0
    if defect > rounding:
        seen = defect / scale if scale else math.inf
        _require_rounding(operator, seen)
    # u'e and v'e for unit vectors u and v that know nothing of the error e.
    spread = (krylov.BREAKDOWN * defect + rounding) / math.sqrt(operator.size)
    if operator.size > 1 and not abs(one - other) <= spread:
        raise fail(
            operator.name, f"the product is not symmetric: u'Av = {one:.6g} and v'Au = {other:.6g} for random u and v",
            "Only symmetric maps have the eigenvalues that are asked for. Take (A + A') / 2; a loss with a derivative"
            " rule that is not its derivative has no Hessian: look at custom_jvp and custom_vjp in it.",
        )  # fmt: skip
    _CHECKED[operator] = _OF_ONE_PRODUCT * seen
    return _with_error(operator, _CHECKED[operator]), _PRODUCTS


def _with_error(operator: Operator, seen: float) -> Operator:
    return dataclasses.replace(operator, epsilon=seen) if seen > operator.epsilon else operator


def _require_rounding(operator: Operator, share: float) -> None:
    """Raises unless rounding can be what makes a product repeated differ by this share of itself.

    A product of unknown make may differ by the root of its epsilon: half of its digits. Where its examples are known to
    stay the same nothing but rounding is left, which may be large: terms cancel at a minimum that fits every example.
    """
    found = f"a product repeated, A (u + v) beside A u + A v, differs by {share:.2g} of itself"
    if operator.examples is None:
        if share > math.sqrt(operator.epsilon):
            raise fail(
                operator.name, found,
                "Make the product the same linear map at each call, or give its relative rounding error as `epsilon`.",
            )  # fmt: skip
    elif not operator.examples.stay_the_same():
        raise fail(
            operator.name, f"{found}: the examples change from one pass over the data to the next",
            "Let each pass give the same ones: draw an augmentation from a seed that each pass starts anew, or store"
            " one draw of it.",
        )  # fmt: skip
    elif share > _MOST_EATEN:
        raise fail(
            operator.name, f"{found}: the examples stay the same, it is lost to rounding",
            "Repeat it in float64, see `lab.precision`.",
        )  # fmt: skip


@jax.jit
def _symmetry(left: Any, right: Any, of_left: Any, of_right: Any) -> tuple[jax.Array, jax.Array, Any]:
    """(|A u|, |A v|), (u'Av, v'Au), u + v."""
    scales = jnp.stack([vectors.norm(of_left), vectors.norm(of_right)])
    crossed = jnp.stack([vectors.dot(left, of_right), vectors.dot(right, of_left)])
    return scales, crossed, jax.tree.map(jnp.add, left, right)


@jax.jit
def _defect(of_both: Any, of_left: Any, of_right: Any) -> jax.Array:
    """|A (u + v) - A u - A v|."""
    return vectors.norm(jax.tree.map(lambda both, one, other: both - one - other, of_both, of_left, of_right))
