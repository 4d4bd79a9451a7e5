"""Changes that remove a cause, as functions of (problem, rule)."""

import dataclasses
from typing import Any

import jax
import numpy as np
import optax

from jaxopt_lab import rules
from jaxopt_lab.core import vectors
from jaxopt_lab.core.problem import with_losses, with_metrics
from jaxopt_lab.diagnosis import data_changes
from jaxopt_lab.diagnosis.findings import Prescription, listed
from jaxopt_lab.diagnosis.probe_runs import ScaledRule, with_wide_copy, without_decay
from jaxopt_lab.diagnosis.rule_checks import held_at
from jaxopt_lab.diagnosis.stationary_point import ElsewhereInit
from jaxopt_lab.rules.frozen import with_frozen
from jaxopt_lab.rules.identification import IdentifiedRule
from jaxopt_lab.tracing.criteria import UsualActivation, UsualCriterion
from jaxopt_lab.tracing.derivative_rules import PassGradient
from jaxopt_lab.tracing.initializers import LSUVInit, RecurrentInit
from jaxopt_lab.tracing.non_finite import GUARD, GuardLine
from jaxopt_lab.tracing.outputs import BypassActivation, LighterPenalty, NormalizeOutputs

_SAME_RATE, MOVED = 0.05, 0.1


def scale_rate(factor: float, optimizer: IdentifiedRule) -> Prescription:
    """The learning rate times `factor`, with the value that this gives where the rate in use is known."""
    return Prescription(f"{_scaled(factor, optimizer)}.", lambda p, r: (p, ScaledRule(r)(factor)))


def _scaled(factor: float, optimizer: IdentifiedRule) -> str:
    """What becomes of the rate, in words."""
    verb, size = ("Increase", factor) if factor > 1 else ("Reduce", 1 / factor)
    known = np.isfinite(optimizer.learning_rate) and optimizer.learning_rate != 0
    value = f", to {factor * optimizer.learning_rate:.3g}" if known else ""
    times = f"{size:,.0f}" if size >= 100 else f"{size:.3g}"
    return f"{verb} the learning rate {times}x{value}"


def train_all(optimizer: IdentifiedRule) -> Prescription | None:
    """All leaves, from their initial values, by the rule that moves some of them; None where that is not known."""
    text = "Train them too: give them the rule of the others in the place of optax.set_to_zero."
    rule = optimizer.as_optax()
    return None if rule is None else Prescription(text, lambda p, r: (with_frozen(p), rule), restarts=True)


def negate_updates() -> Prescription:
    """The rule with the other sign."""
    text = "Negate the updates: optax.scale(-1) behind the rule, or the learning rate with its minus sign."
    return Prescription(text, lambda p, r: (p, optax.chain(r, optax.scale(-1.0))))


def pass_gradient(lines: tuple[str, ...]) -> Prescription:
    """The loss whose gradient passes what holds it back."""
    text = f"Let the gradient pass {listed(lines)}: no stop_gradient, or x + stop_gradient(y - x) straight through."
    return Prescription(text, lambda p, r: (with_losses(p, PassGradient()), r))


def hold_still(paths: tuple[str, ...]) -> Prescription:
    """No updates for the leaves at these paths."""
    text = "Set the updates of what is to stay to zero (optax.set_to_zero, optax.freeze), or hand them to a rule."

    def still(tree: Any) -> Any:
        return jax.tree.unflatten(jax.tree.structure(tree), [path in paths for path in vectors.parameter_paths(tree)])

    return Prescription(text, lambda p, r: (p, optax.chain(r, optax.masked(optax.set_to_zero(), still))))


def enlarge_batch(factor: int, longer: int = 1) -> Prescription:
    """`factor` batches for each step, by accumulating their gradients; `longer` as of a prescription."""
    text = f"Take batches {factor} times as large (optax.MultiSteps accumulates them)."
    return Prescription(text, lambda p, r: (p, optax.MultiSteps(r, factor).gradient_transformation()), longer=longer)


def average_iterates() -> Prescription:
    """The mean of the iterates, read with `rules.averaged_params`."""
    text = "Average the iterates (rules.average_iterates around the rule, read with rules.averaged_params)."
    return Prescription(text, lambda p, r: (p, rules.average_iterates(r)), evaluated=rules.averaged_params)


def use_heavy_ball(learning_rate: float, rho: float) -> Prescription:
    """Heavy ball, tuned."""
    text = f"Use momentum: heavy ball with learning rate {learning_rate:.4g} and rho {rho:.4g}."
    return Prescription(text, lambda p, r: (p, rules.heavy_ball(learning_rate, rho)))


def use_adam(learning_rate: float) -> Prescription:
    """Adam at a rate that was tried."""
    text = f"Use Adam with learning rate {learning_rate:.3g}, at which sixteen examples are fitted from here."
    return Prescription(text, lambda p, r: (p, optax.adam(learning_rate)))


def leave_saddle(gradient_threshold: float, curvature_threshold: float, distance: float) -> Prescription:
    """Steps along negative curvature where the gradient is small."""
    text = (
        f"Step {distance:.3g} along the negative curvature where the gradient is below {gradient_threshold:.3g}"
        " (rules.negative_curvature_step around the rule in use); momentum or a kick serve too, more slowly."
    )
    when = gradient_threshold, curvature_threshold, distance
    return Prescription(text, lambda p, r: (p, rules.negative_curvature_step(r, *when, wait=10, num_products=10)))


def standardize_inputs(factor: float, optimizer: IdentifiedRule) -> Prescription:
    """Inputs with mean 0 and standard deviation 1, by the training data, and the learning rate times `factor`."""
    text = "Standardize the inputs: subtract the mean of each feature over the training data, divide by its deviation."
    if abs(factor - 1) < _SAME_RATE:
        return Prescription(text, lambda p, r: (data_changes.standardized(p), r), rates=(1.0,))
    text, rates = f"{text} {_scaled(factor, optimizer)}, as the new curvature allows.", (1.0, factor**0.5, factor)
    return Prescription(text, lambda p, r: (data_changes.standardized(p), ScaledRule(r)(factor)), rates=rates)


def clip_inputs() -> Prescription:
    """Inputs by their quartiles, without their tails."""
    text = "Scale each input by its quartiles and clip it at five standard deviations, or take its logarithm or rank."
    return Prescription(text, lambda p, r: (data_changes.clipped(p), r))


def pad_in_front(leaf: int) -> Prescription:
    """Sequences whose padding stands before them, so that the last step is their own."""
    text = "Pad sequences in front, or read the recurrence at each sequence's last step: behind it stands padding."
    return Prescription(text, lambda p, r: (data_changes.with_padding_in_front(p, leaf), r))


def drop_examples(num: int) -> Prescription:
    """The data without the examples that hold numbers that are not finite, in whatever leaf."""
    text = f"Leave out the {num} examples that hold numbers that are not finite."
    return Prescription(text, lambda p, r: (data_changes.finite_examples(p), r))


def zero_inputs() -> Prescription:
    """Zeros for inputs that are not finite in any example."""
    text = "Set the features that no example has finite to 0: a constant is divided by its standard deviation, 0."
    return Prescription(text, lambda p, r: (data_changes.zeroed(p), r))


def renumber_classes(leaf: int, numbers: tuple[int, ...]) -> Prescription:
    """The classes, in their order, with numbers that name outputs."""
    text = f"Number the classes {numbers[0]}{' and ' if len(numbers) == 2 else ' to '}{numbers[-1]}."
    return Prescription(text, lambda p, r: (data_changes.renumbered(p, leaf, numbers), r), rescales=True)


def draw_classes_alike(leaf: int) -> Prescription:
    """Training data that hold as many examples of one class as of another."""
    text = "Draw each class as often as any other, or weigh the examples by one over their class's share."
    return Prescription(text, lambda p, r: (data_changes.balanced(p, leaf), r), rescales=True)


def shuffle_batches() -> Prescription:
    """Batches of the same sizes of all examples in random order."""
    text = "Shuffle the examples before they are cut into batches, in each epoch anew."
    return Prescription(text, lambda p, r: (data_changes.with_shuffled_batches(p), r))


def split_again() -> Prescription:
    """Training and validation data, drawn at random from both."""
    text = "Shuffle the examples before they are split, or split within each class."
    return Prescription(text, lambda p, r: (data_changes.split_again(p), r))


def match_validation() -> Prescription:
    """Validation inputs with the training inputs' means and deviations."""
    text = "Transform both with the numbers of the training data: one mean, one scale, one order of channels."
    return Prescription(text, lambda p, r: (data_changes.matched_validation(p), r))


def leave_out_duplicates() -> Prescription:
    """Validation data without the examples that are in the training data."""
    text = "Split before examples are repeated or augmented; leave those that are in both out of the validation data."
    return Prescription(text, lambda p, r: (data_changes.without_duplicates(p), r))


def shape_targets(leaf: int, shape: tuple[int, ...]) -> Prescription:
    """Targets of the outputs' shape."""
    text = f"Give the targets the shape of the outputs, [examples{''.join(f', {size}' for size in shape)}]."
    return Prescription(text, lambda p, r: (data_changes.shaped(p, leaf, shape), r), changes_loss=True)


def separate_examples(text: str) -> Prescription:
    """The mean of the losses of the examples, each in a batch of its own."""
    return Prescription(text, lambda p, r: (data_changes.with_separate_examples(p), r), changes_loss=True)


def negate_loss() -> Prescription:
    """The loss with the other sign."""
    text = "Look at the sign of the loss: a likelihood is to be maximized, its negative logarithm minimized."
    return Prescription(text, lambda p, r: (data_changes.with_negated_loss(p), r), rescales=True)


def initialize_by_data() -> Prescription:
    """Initial weights scaled, layer by layer, so that every layer's outputs have mean 0 and deviation 1 on the data."""
    text = "Scale the initial weights layer by layer: mean 0, standard deviation 1 of each layer's outputs on a batch."
    return Prescription(text, lambda p, r: (dataclasses.replace(p, init=LSUVInit(p)), r), restarts=True)


def hand_state_on(paths: tuple[str, ...], gates: tuple[str, ...], turns: int) -> Prescription:
    """Orthogonal initial weights in the leaves at `paths`, and open gates where those of `gates` begin shut."""
    text = "Begin with orthogonal recurrent weights and open forget gates (a bias of 1 or more), or use attention."
    change = lambda p, r: (dataclasses.replace(p, init=RecurrentInit(p, paths, gates, turns)), r)  # noqa: E731
    return Prescription(text, change, restarts=True)


def begin_elsewhere() -> Prescription:
    """Another draw of the initial parameters; where there is but one, noise of their own size on it."""
    text = "Begin from other initial parameters, or widen the model."
    return Prescription(text, lambda p, r: (dataclasses.replace(p, init=ElsewhereInit(p)), r), restarts=True)


def decay_weights(rate: float) -> Prescription:
    """Decoupled weight decay."""
    text = f"Shrink the weights by {rate:.3g} of themselves a step (decoupled weight decay), or stop earlier."
    return Prescription(text, lambda p, r: (p, optax.chain(r, optax.add_decayed_weights(-rate))))


def stop_decay() -> Prescription:
    """The rule without the weight decay that it holds."""
    return Prescription("Take the weight decay away.", lambda p, r: (p, without_decay(r)))


def lighten_penalty(factor: float) -> Prescription:
    """The loss with its penalty on the parameters divided by `factor`."""
    text = f"Divide the penalty's factor by {factor:,.0f} or more."
    return Prescription(text, lambda p, r: (with_losses(p, LighterPenalty(1 / factor)), r))


def bypass_activation(name: str, number: int = 1) -> Prescription:
    """Loss and metrics of the outputs as they are, without the activation on them, the `number`-th of that name."""
    text = f"Take the {name} off the outputs, or a criterion that takes what it gives."
    bypass = BypassActivation(name, number)
    return Prescription(text, lambda p, r: (with_metrics(with_losses(p, bypass), bypass), r))


def normalize_outputs() -> Prescription:
    """The loss of the outputs' log-softmax."""
    text = "Put a log-softmax on the outputs, which the loss takes for logarithms of probabilities."
    return Prescription(text, lambda p, r: (with_losses(p, NormalizeOutputs()), r), rescales=True)


def take_criterion(criterion: UsualCriterion, why: str = "") -> Prescription:
    """The usual criterion of the outputs and the targets as the loss, and its activation in the metrics."""
    text = f"{why}Take optax.{criterion.name} of the last layer's outputs themselves, without an activation on them."
    other = UsualActivation(criterion.name)
    return Prescription(text, lambda p, r: (with_metrics(with_losses(p, criterion), other), r), changes_loss=True)


def guard_line(line: str) -> Prescription:
    """The loss with the arguments of a line's logarithms, roots and divisions kept away from zero."""
    text = f"At {line} keep what is taken the logarithm or the root of, or divided by, above {GUARD:g}: jnp.maximum."
    return Prescription(text, lambda p, r: (with_losses(p, GuardLine(line)), r))


def without_randomness(text: str) -> Prescription:
    """The loss of training mode without its key: no dropout, no noise."""
    return Prescription(text, lambda p, r: (data_changes.without_key(p), r))


def move_statistics(share: float) -> Prescription:
    """Running statistics that move a tenth of the way to the batch's in a step, in the place of `share`."""
    text = f"Let the running statistics move {MOVED:g} of the way to the batch's in a step, not {share:.3g} (momentum)."
    return Prescription(text, lambda p, r: (data_changes.with_statistics(p, share, MOVED), r), needs_validation=True)


def standardize_targets(leaf: int, inputs: bool = False) -> Prescription:
    """Targets with mean 0 and standard deviation 1, by the training data, and with `inputs` those too."""
    what = "the targets and the inputs" if inputs else "the targets"
    text = f"Standardize {what}: subtract their mean over the training data, divide by their standard deviation."
    before = data_changes.standardized if inputs else lambda p: p
    return Prescription(text, lambda p, r: (data_changes.standardized_targets(before(p), leaf), r), rescales=True)


def keep_precision() -> Prescription:
    """A copy of the parameters in float32 in the rule's state, which takes the updates."""
    text = "Keep a float32 copy of the parameters in the rule, add the updates to it, and round for the model alone."
    return Prescription(text, lambda p, r: (p, with_wide_copy(r)))


def scale_gradients(factor: float) -> Prescription:
    """Gradients times `factor` before an adaptive rule: its epsilon over `factor`."""
    text = f"Divide the rule's epsilon by {factor:.3g}."
    return Prescription(text, lambda p, r: (p, optax.chain(optax.scale(factor), r)))


def raise_clip(factor: float) -> Prescription:
    """The clipping norm times `factor`."""
    text = f"Raise the limit on the gradient {factor:.3g} times."
    return Prescription(text, lambda p, r: (p, optax.chain(optax.scale(1 / factor), r, optax.scale(factor))))


def hold_rate(step: int) -> Prescription:
    """The schedule held at one step."""
    text = f"Hold the learning rate at its largest value, that of step {step}, for as long as the loss falls."
    return Prescription(text, lambda p, r: (p, held_at(r, step)))


def advise(text: str) -> Prescription:
    """What only a person can change."""
    return Prescription(text)
