"""The rule in use, told by what it does: learning rate, momentum and stability edge of any optax transformation.

A rule is fed small gradients and then zeros, on parameters of a few entries a leaf. Where its answer is the gradient
itself times a number, that number over time is its impulse response h_0, h_1, h_2, ...

    gradient descent   -lr, 0, 0
    heavy ball         -lr, -lr rho, -lr rho^2
    Nesterov           -lr (1 + rho), -lr rho^2, -lr rho^3

Where it is the same step for all gradients, but for their signs, the rule divides by the gradient's size, as Adam and
its family do. Each leaf is told by itself, and only what gradients of two sizes and two shapes agree on, at zero
parameters and at others: a trust ratio, a matrix's orthogonalization or a limit that is met leave the rule unknown.
A response that begins a step later tells a schedule from momentum.
"""

import dataclasses
from typing import Any

import jax
import numpy as np
import optax

from jaxopt_lab import theory
from jaxopt_lab.core.compilation import compiled
from jaxopt_lab.core.vectors import parameter_paths
from jaxopt_lab.rules.answers import (
    CLOSE,
    LEVELS,
    SHARES,
    STARTS,
    answer_gradients,
    at_rest,
    parts_of,
    ratio_of,
    sequences,
    small_params,
    steps_of_ones,
    two_step_of,
    velocity_behind,
)
from jaxopt_lab.rules.monitor import without_sharpness
from jaxopt_lab.rules.step_forms import StepForm, recognize_steps

_FORGOTTEN = 1e-5  # of a gradient in a step, at least
_SHOWN = 3
_WARM_UP = 2000
_GROWS = 1.5  # within the first steps: a second moment's own beginning is less


@dataclasses.dataclass(frozen=True)
class IdentifiedRule:
    """What is known of a rule from its steps.

    Attributes:
      kind: "gradient descent", "heavy ball" or "Nesterov"; "adaptive" for a rule of Adam's family; "accumulating" for
        one that adds up all gradients, none of which it forgets; "linear" for another linear filter of the gradients;
        "unknown", also where groups of leaves are moved in different ways.
      learning_rate: of the first step, or the largest of the first 2,000 where it rises; NaN if not known. Of RMSProp,
        whose first steps are longer, what its steps settle at.
      rho: the momentum, 0 without.
      lookahead: as in `theory.stability.two_step_edge`: 0, or rho for Nesterov's momentum.
      effective_rate: the sum of the impulse response: lr / (1 - rho) where the velocity is a sum of steps, as in heavy
        ball, Nesterov and RMSProp with momentum; lr where it is an average, as in Adam.
      weight_decay: the share of themselves by which it shrinks the parameters in a step without a gradient, once its
        momentum has come to rest; the largest of the groups'.
      b2: decay of a second moment, NaN without.
      form: how it makes its steps of gradients of one size; None where it is not known.
      groups: (paths, what is known of them) for leaves that the rule treats alike; "frozen" are those that it leaves
        as they are. Empty where all are treated alike.
    """

    kind: str
    learning_rate: float = float("nan")
    rho: float = 0.0
    lookahead: float = 0.0
    effective_rate: float = float("nan")
    weight_decay: float = 0.0
    b2: float = float("nan")
    form: StepForm | None = None
    groups: tuple[tuple[tuple[str, ...], "IdentifiedRule"], ...] = ()

    @property
    def edge(self) -> float:
        """Largest stable learning rate times (preconditioned) eigenvalue; NaN where it is not known."""
        if self.kind not in ("gradient descent", "heavy ball", "Nesterov", "adaptive"):
            return float("nan")
        edge = float(theory.stability.two_step_edge(self.rho, self.lookahead))
        return edge * self.learning_rate / self.two_step_rate

    @property
    def two_step_rate(self) -> float:
        """Learning rate as a two-step method whose velocity is a sum: lr (1 - rho) where it is an average."""
        return self.effective_rate * (1 - self.rho)

    def per_step(self, answers: np.ndarray) -> np.ndarray:
        """Learning rates behind the rule's steps [..., steps] that answer a gradient that stays."""
        return answers if self.form is None else self.form.rates(answers)

    def as_optax(self) -> optax.GradientTransformation | None:
        """A rule of optax that is of this kind, without weight decay; None where kind or rate are not known."""
        if self.kind == "adaptive":
            return None if np.isnan(self.b2) else optax.adam(self.learning_rate, self.rho, self.b2)
        return None if np.isnan(self.edge) else optax.sgd(self.learning_rate, self.rho or None, self.lookahead > 0)

    def relative_sharpness(self, curvature: float) -> float:
        """Learning rate times a (preconditioned) curvature over the edge; NaN where the edge is not known."""
        return self.learning_rate * curvature / self.edge

    def __str__(self) -> str:
        moving = [(paths, each) for paths, each in self.groups if each.kind != "frozen"]
        if self.kind == "unknown" and any(each.kind != "unknown" for _, each in moving):
            told = [f"{each} ({', '.join(paths[:_SHOWN])})" for paths, each in moving[:_SHOWN]]
            return "; ".join([*told, *(["..."] if len(moving) > _SHOWN else [])])
        if not np.isfinite(self.learning_rate):
            return f"a rule of unknown form ({self.kind})"
        momentum = f", momentum {self.rho:.3g}" if self.rho else ""
        return f"{self.kind}, learning rate {self.learning_rate:.3g}{momentum}"


UNKNOWN = IdentifiedRule("unknown")


def identify(rule: optax.GradientTransformation, params: Any) -> IdentifiedRule:
    """Tells a rule by its answers to gradients, each leaf by itself.

    Args:
      rule: any optax transformation, at the beginning of its schedules.
      params: parameters of the structure that it is used on; their values do not matter.

    Returns:
      What is known. A rule that needs more than gradients and parameters, or that does not move in its first steps, is
      unknown. Cost: a few hundred updates of parameters of a few entries, no gradient.

    Example:
      >>> import jax.numpy as jnp
      >>> print(identify(optax.sgd(0.1, momentum=0.9, nesterov=True), jnp.ones(3)))
      Nesterov, learning rate 0.1, momentum 0.9
      >>> print(identify(optax.adam(0.003), jnp.ones(3)))
      adaptive, learning rate 0.003, momentum 0.9
    """
    small = small_params(params)
    try:
        rule = without_sharpness(rule, small)
        answers, gradients = jax.device_get(compiled(answer_gradients, (rule,), small)(small))
        steps, *moments = jax.device_get(compiled(at_rest, (rule,), small)(small))
    except (TypeError, ValueError):
        return UNKNOWN
    first, second, velocity = (ratio_of(each[0]) for each in moments)
    leaves, ends = [], np.cumsum([leaf.size for leaf in jax.tree.leaves(small) if leaf.size])
    for place, end in enumerate(ends):
        entries = slice(end - int(np.diff(ends, prepend=0)[place]), end)
        parts = parts_of(answers[..., entries], gradients[..., entries])
        found = _agreed(
            [_told([part[level] for part in parts], first, second, velocity) for level in range(len(LEVELS))]
        )
        found = dataclasses.replace(found, weight_decay=float(-steps[1, -1, place]) + 0.0)
        leaves.append(dataclasses.replace(found, b2=second) if found.kind == "adaptive" else found)
    paths = [path for path, leaf in zip(parameter_paths(params), jax.tree.leaves(params), strict=True) if leaf.size]
    found = _together(paths, leaves)
    return _at_its_peak(rule, small, found) if found.learning_rate > 0 and _rises(answers, found) else found


def weight_decay(rule: optax.GradientTransformation, params: Any) -> float:
    """The share of themselves by which the rule shrinks the parameters in a step without a gradient.

    Args:
      rule: any optax transformation.
      params: parameters of the structure that it is used on.

    Returns:
      The share, the largest of the leaves'; 0 for a rule that needs more than gradients and parameters.

    Example:
      >>> import jax.numpy as jnp
      >>> round(weight_decay(optax.adamw(0.1, weight_decay=0.01), jnp.ones(3)), 6)
      0.001
    """
    small = small_params(params)
    try:
        steps = compiled(at_rest, (rule,), small)(small)[0]
    except (TypeError, ValueError):
        return 0.0
    return float(-np.min(np.asarray(steps[1, -1]), initial=0.0)) + 0.0


def _together(paths: list[str], leaves: list[IdentifiedRule]) -> IdentifiedRule:
    """What is known of the whole rule: what its moving leaves have in common."""
    groups: list[tuple[list[str], IdentifiedRule]] = []
    for path, leaf in zip(paths, leaves, strict=True):
        for members, known in groups:
            if _same(leaf, known) and np.isclose(leaf.weight_decay, known.weight_decay, rtol=CLOSE, atol=1e-12):
                members.append(path)
                break
        else:
            groups.append(([path], leaf))
    told = tuple((tuple(members), known) for members, known in groups) if len(groups) > 1 else ()
    moving = [known for _, known in groups if known.kind != "frozen"]
    if not moving:
        return IdentifiedRule("unknown", groups=told)
    alike = all(_same(each, moving[0]) for each in moving)
    found = moving[0] if alike else UNKNOWN
    return dataclasses.replace(found, weight_decay=max(each.weight_decay for each in moving), groups=told)


def _agreed(levels: list[tuple[IdentifiedRule, bool]]) -> IdentifiedRule:
    """What gradients of two sizes agree on; or of one, where all others are only cut in length."""
    known = [each for each, _ in levels if each.kind != "unknown"]
    cut = all(is_limited for each, is_limited in levels if each.kind == "unknown")
    if known and (len(known) > 1 or cut) and all(_same(each, known[0]) for each in known):
        return known[0]
    return UNKNOWN


def _same(one: IdentifiedRule, other: IdentifiedRule) -> bool:
    numbers = [(each.learning_rate, each.rho, each.lookahead) for each in (one, other)]
    return one.kind == other.kind and bool(np.allclose(*numbers, rtol=2 * CLOSE, equal_nan=True))


def _told(parts: list[np.ndarray], first: float, second: float, velocity: float) -> tuple[IdentifiedRule, bool]:
    """A leaf by its answers of one level.

    Args:
      parts: of its steps, as `_parts` gives them, each [sizes, shapes, points, sequences, steps].
      first: decay of the first moment.
      second: decay of the second moment.
      velocity: decay of a velocity, each NaN where there is none.

    Returns:
      What is known, and whether all steps have the gradient's direction, of whatever length.
    """
    coefficient, rest, sign, spread = parts
    if not np.isfinite(coefficient).all():
        return UNKNOWN, False
    runs = (-1, *coefficient.shape[-2:])
    answers, others = coefficient.reshape(runs), rest.reshape(runs)
    sizes = np.abs(answers).max((0, 2), keepdims=True)  # each sequence by its own
    if sizes.max() == 0 and rest.max() == 0:
        return IdentifiedRule("frozen"), True
    is_parallel = bool((others <= CLOSE * sizes).all())
    if is_parallel and (np.ptp(answers, axis=0) <= CLOSE * sizes[0]).all():
        return _named(answers.mean(0)), True
    impulses, around = sign.reshape(runs), spread.reshape(runs)[:, -1]
    if any(decay > 1 - _FORGOTTEN for decay in (first, velocity)):  # gradients are added up for ever
        return IdentifiedRule("accumulating"), is_parallel
    averages = np.isfinite(first)
    behind = (0.0, 0.0) if averages else velocity_behind(impulses.mean(0), second)
    if behind is None or (averages and np.isfinite(velocity)):  # or two momenta
        return UNKNOWN, is_parallel
    decays = StepForm("", float(np.nan_to_num(first)), second, *behind)
    found = recognize_steps(impulses, sequences(), decays)
    if found is None:
        return UNKNOWN, is_parallel
    form, rates = found
    moving = np.flatnonzero(rates)
    if not len(moving) or rates[moving[0]] <= 0 or around[:, moving[0]].max() > CLOSE * np.abs(impulses).max():
        return UNKNOWN, is_parallel
    rate, rho = float(rates[moving[0]]), first if averages else behind[0]
    return IdentifiedRule("adaptive", rate, rho, behind[1], rate / (1 - behind[0]), form=form), is_parallel


def _named(responses: np.ndarray) -> IdentifiedRule:
    """The two-step method with these responses to a gradient at step 0, 1, ..., [sequences, steps]."""
    at_once = np.diagonal(responses[:STARTS, :STARTS])
    begins = np.flatnonzero(at_once != 0)
    if not len(begins) or begins[0] + SHARES > STARTS or at_once[begins[0]] > 0:
        return UNKNOWN
    start = begins[0]
    rates = at_once[start : start + SHARES]
    if (rates == 0).any():
        return UNKNOWN
    shares = responses[start, start : start + SHARES] / rates  # the schedule has moved them alike
    if shares[1] > CLOSE and shares[2] / shares[1] > 1 - _FORGOTTEN:
        return IdentifiedRule("accumulating")
    found = two_step_of(shares)
    if found is None:
        return IdentifiedRule("linear")
    rate = float(-rates[0] / (1 + found[1]))
    kind = "Nesterov" if found[1] else "heavy ball" if found[0] else "gradient descent"
    return IdentifiedRule(kind, rate, *found, rate / (1 - found[0]), form=StepForm(rho=found[0], lookahead=found[1]))


def _rises(answers: np.ndarray, found: IdentifiedRule) -> bool:
    """Whether the rate begins at zero or grows: steps that answer at once, or those of a gradient that stays."""
    if found.kind == "adaptive":
        rates, least = found.per_step(np.abs(answers[..., -1, :, :]).sum((0, 1, 2, 3, 5))), _GROWS
    else:
        at_once = np.diagonal(answers[..., :STARTS, :STARTS, :], axis1=4, axis2=5)
        rates, least = np.abs(at_once).sum((0, 1, 2, 3, 4)), 1 + CLOSE
    return bool(rates[-1] > least * rates[0])


def _at_its_peak(rule: optax.GradientTransformation, small: Any, found: IdentifiedRule) -> IdentifiedRule:
    """The rule with the largest rate of its warm-up."""
    answers = np.asarray(compiled(steps_of_ones, (_WARM_UP, rule), small)(small), np.float64)
    if not np.isfinite(answers).all():
        return found
    answers = found.per_step(answers)
    factor = float(answers.max() / answers[answers > 0][0])
    rate, whole = factor * found.learning_rate, factor * found.effective_rate
    return dataclasses.replace(found, learning_rate=rate, effective_rate=whole)
