"""Rules that divide each coordinate's step by the size of its gradients so far: optax's own, with arguments checked.

    Adagrad    x <- x - lr g / sqrt(a + sum g^2 + eps)           slows down as 1 / sqrt(t) for good
    RMSProp    x <- x - lr g / sqrt(mean g^2 + eps)              the mean decays: it can speed up again
    Adam       x <- x - lr m / (sqrt(v) + eps)                   m, v: decaying means of g and g^2, corrected for 0

They see nothing but the coordinates that they are given: turned axes give another path. How far they may step:
`theory.adaptive`.
"""

import math
from typing import Any

import jax
import optax

from jaxopt_lab.core.errors import require_between
from jaxopt_lab.rules.arguments import LearningRate, require_learning_rate, require_rho

Number = float | jax.Array


def adagrad(
    learning_rate: LearningRate, initial_accumulator_value: Number = 0.1, eps: Number = 1e-7
) -> optax.GradientTransformationExtraArgs:
    """`optax.adagrad`.

    Args:
      learning_rate: lr > 0, a number, a traced scalar or a schedule step -> rate.
      initial_accumulator_value: a >= 0, what the sum of squares starts with.
      eps: >= 0, added under the root.

    Returns:
      The rule; its state holds one vector.

    Raises:
      InputError: a concrete argument is out of its range.

    Reference: Duchi, Hazan, Singer, Adaptive subgradient methods, JMLR 2011.
    """
    require_learning_rate("adagrad", learning_rate)
    _require_not_negative("adagrad", "initial_accumulator_value", initial_accumulator_value)
    _require_not_negative("adagrad", "eps", eps)
    return optax.with_extra_args_support(optax.adagrad(learning_rate, initial_accumulator_value, eps))


def rmsprop(
    learning_rate: LearningRate,
    decay: Number = 0.9,
    eps: Number = 1e-8,
    initial_scale: Number = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Number | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """`optax.rmsprop`.

    Args:
      learning_rate: lr > 0, a number, a traced scalar or a schedule step -> rate.
      decay: of the mean of squares, in [0, 1).
      eps: >= 0, added under the root.
      initial_scale: >= 0, what the mean of squares starts with.
      eps_in_sqrt: adds eps under the root, not to it.
      centered: divides by the deviation instead: the squared mean gradient is taken off.
      momentum: of a velocity of the divided gradients, in [0, 1); None for none.
      nesterov: takes that velocity in Nesterov's form.
      bias_correction: corrects the means for their start, as Adam does.

    Returns:
      The rule; its state holds one vector, with momentum two.

    Raises:
      InputError: a concrete argument is out of its range.

    Reference: Tieleman and Hinton, Neural networks for machine learning, lecture 6.5, 2012.
    """
    require_learning_rate("rmsprop", learning_rate)
    require_rho("rmsprop", decay, "decay")
    _require_not_negative("rmsprop", "eps", eps)
    _require_not_negative("rmsprop", "initial_scale", initial_scale)
    if momentum is not None:
        require_rho("rmsprop", momentum, "momentum")
    return optax.with_extra_args_support(
        optax.rmsprop(
            learning_rate, decay, eps, initial_scale, eps_in_sqrt, centered, momentum, nesterov, bias_correction
        )
    )


def adam(
    learning_rate: LearningRate,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    mu_dtype: Any = None,
    nesterov: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """`optax.adam`.

    Args:
      learning_rate: lr > 0, a number, a traced scalar or a schedule step -> rate.
      b1: decay of the mean gradient, in [0, 1).
      b2: decay of the mean square, in [0, 1).
      eps: >= 0, added to the root.
      eps_root: >= 0, added under the root.
      mu_dtype: dtype of the mean gradient; None for that of the parameters.
      nesterov: looks ahead with the mean gradient (Dozat, 2016).

    Returns:
      The rule; its state holds two vectors.

    Raises:
      InputError: a concrete argument is out of its range.

    Reference: Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1.
    """
    require_learning_rate("adam", learning_rate)
    require_rho("adam", b1, "b1")
    require_rho("adam", b2, "b2")
    _require_not_negative("adam", "eps", eps)
    _require_not_negative("adam", "eps_root", eps_root)
    return optax.with_extra_args_support(optax.adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov))


def _require_not_negative(rule: str, name: str, value: Number) -> None:
    require_between(rule, name, value, 0, math.inf, ends="[)")
