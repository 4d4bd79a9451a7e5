"""A ReLU network that learns another one, with its loss over all Gaussian inputs in closed form.

    f(W) = 1/2 E (sum_i relu(w_i x) - sum_j relu(v_j x))^2,   x from N(0, I_n)
         = 1/2 sum k(w_i, w_i') - sum k(w_i, v_j) + 1/2 sum k(v_j, v_j')
    k(w, v) = |w| |v| (sin a + (pi - a) cos a) / (2 pi),      a the angle between w and v

The teacher's v_1 .. v_n are orthonormal, the student has k >= n neurons. With k = n from 6 on the loss has minima that
are not global, and descent from usual initial weights ends in them often; one more neuron makes that rare.
"""

import functools
import math

import jax
import jax.numpy as jnp

from jaxopt_lab.core import Problem, Truth, fail
from jaxopt_lab.core.errors import require_count
from jaxopt_lab.core.problem import Batch, Key


def student_teacher(width: int, num_teachers: int | None = None) -> Problem:
    """The population loss of k ReLU neurons that learn n orthonormal ones.

    Args:
      width: k, the student's neurons, at least n.
      num_teachers: n >= 2, also the number of inputs; None for k.

    Returns:
      The problem. Parameters: the student's weights, one vector [k n], row after row; drawn from N(0, 1 / k). `truth`
      holds the minimum 0 and the teacher as a minimizer, further neurons of the student at 0. The loss is not
      differentiable where a neuron is 0. Cost of a gradient: O(k (k + n) n).

    Raises:
      InputError: fewer neurons than the teacher has, or a teacher of one neuron.

    Example:
      >>> problem = student_teacher(3, 2)
      >>> problem.truth.minimizer.reshape(3, 2).tolist()
      [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
      >>> round(float(problem.full_loss(2 * problem.truth.minimizer)), 4)  # 1 / 2 + 1 / (2 pi)
      0.6592

    Reference: Safran and Shamir 2018, Spurious local minima are common in two-layer ReLU neural networks, arXiv
    1712.08968, section 4; Cho and Saul 2009, Kernel methods for deep learning, for k.
    """
    where = "student_teacher"
    teachers = width if num_teachers is None else num_teachers
    require_count(where, "num_teachers", teachers, 2)
    require_count(where, "width", width)
    if width < teachers:
        raise fail(
            where, f"width must be at least num_teachers, got {width} for {teachers}",
            "With fewer neurons than the teacher no student has the loss 0.",
        )  # fmt: skip
    real = jnp.zeros((), float).dtype
    teacher = jnp.eye(width, teachers, dtype=real)
    return Problem(
        loss=jax.tree_util.Partial(_loss, teacher[:teachers]),
        init=functools.partial(_initial_weights, width, teachers, real),
        truth=Truth(minimum=0.0, minimizer=teacher.ravel()),
        name=f"student-teacher-{width}-{teachers}",
    )


def _initial_weights(width: int, teachers: int, real: jnp.dtype, key: Key) -> jax.Array:
    return jax.random.normal(key, (width * teachers,), real) / math.sqrt(width)


def _loss(teacher: jax.Array, params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    del batch, key
    student = params.reshape(-1, teacher.shape[1])
    both = _products(student, teacher).sum()
    teachers = teacher.shape[0]
    # k(v, v) = 1 / 2 and, at a right angle, 1 / (2 pi).
    constant = teachers / 4 + teachers * (teachers - 1) / (4 * math.pi)
    return 0.5 * _own_products(student) - both + constant


def _products(first: jax.Array, second: jax.Array) -> jax.Array:
    """k of each row of the first with each of the second."""
    lengths = _length(first)[:, None] * _length(second)
    return lengths * _profile(first @ second.T / jnp.where(lengths > 0, lengths, 1.0))


def _own_products(rows: jax.Array) -> jax.Array:
    """The sum of k over all pairs of rows; a row with itself gives |w|^2 / 2, exactly."""
    pairs = jnp.where(jnp.eye(rows.shape[0], dtype=bool), 0.0, _products(rows, rows))
    return jnp.sum(pairs) + 0.5 * jnp.sum(jnp.square(rows))


def _length(rows: jax.Array) -> jax.Array:
    """Euclidean lengths, with the gradient 0 at a row that is 0."""
    squares = jnp.sum(jnp.square(rows), axis=1)
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)


@jax.custom_jvp
def _profile(cosine: jax.Array) -> jax.Array:
    """(sin a + (pi - a) cos a) / (2 pi) of cos a; rounding can put that a little above 1."""
    cosine = jnp.clip(cosine, -1.0, 1.0)
    return (jnp.sqrt(1 - jnp.square(cosine)) + (math.pi - jnp.arccos(cosine)) * cosine) / (2 * math.pi)


@_profile.defjvp
def _profile_derivative(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Its slope (pi - a) / (2 pi) is finite where w and v are parallel, though those of its two terms are not."""
    (cosine,), (tangent,) = primals, tangents
    return _profile(cosine), _angle_share(cosine) * tangent


@jax.custom_jvp
def _angle_share(cosine: jax.Array) -> jax.Array:
    """(pi - a) / (2 pi)."""
    return (math.pi - jnp.arccos(jnp.clip(cosine, -1.0, 1.0))) / (2 * math.pi)


@_angle_share.defjvp
def _angle_share_derivative(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """1 / (2 pi sin a); 0 at parallel vectors, where its factor (d cos a)^2 = (a da)^2 vanishes faster."""
    (cosine,), (tangent,) = primals, tangents
    square = 1 - jnp.square(cosine)
    slope = jnp.where(square > 0, 1 / (2 * math.pi * jnp.sqrt(jnp.where(square > 0, square, 1.0))), 0.0)
    return _angle_share(cosine), slope * tangent
