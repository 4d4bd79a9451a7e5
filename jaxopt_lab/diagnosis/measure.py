"""The parts of the evidence, each measured within the budget, in an order in which what tells most for least is first.

A new measurement is a function of (what is measured so far, budget) that gives its part or `Skipped`, and a line in
`MEASUREMENTS`.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxopt_lab.core import Problem, Status, fail, vectors
from jaxopt_lab.core.errors import reason
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.diagnosis.budget import ASIDE, GRADIENT, LOSS, PRODUCT, Budget, Skipped, step_cost, subsampled
from jaxopt_lab.diagnosis.data_changes import standardized
from jaxopt_lab.diagnosis.data_checks import check_labels, measure_data
from jaxopt_lab.diagnosis.evidence import Evidence, Layers, PointState, Setting
from jaxopt_lab.diagnosis.gradient_noise import (
    GradientNoise,
    constant_output,
    measure_noise,
    sample_gradient,
    value_and_gradient,
)
from jaxopt_lab.diagnosis.inputs import InputStatistics, measure_inputs
from jaxopt_lab.diagnosis.output_search import OutputSearch, search_outputs
from jaxopt_lab.diagnosis.probe_runs import RATES, OtherRates, ProbeRun, find_on_the_way, probe_run, rate_runs
from jaxopt_lab.diagnosis.program_checks import ProgramChecks, measure_memorization, measure_program
from jaxopt_lab.diagnosis.quadratic_model import Curvature, diagonal_of, measure_curvature, model_around
from jaxopt_lab.diagnosis.rule_checks import measure_edge, measure_rule
from jaxopt_lab.diagnosis.stationary_point import NUM_LOSSES, StationaryPoint, look_around, scan_line
from jaxopt_lab.diagnosis.validation import measure_decay, measure_validation
from jaxopt_lab.tracing import find_non_finite, measure_signals

_RUN_SHARE = 0.3
_RATE_SHARE, _RATES_ASIDE = 0.2, 0.25
_MOST_STEPS = 1000
_RECORDS = 25
_SIGNAL_EXAMPLES = 256
_scaled = jax.jit(vectors.scale)


def measure(setting: Setting, budget: Budget, log: Callable[[str], None]) -> Evidence:
    """Measures what the budget allows.

    Args:
      setting: what is diagnosed.
      budget: is charged, and told what was skipped.
      log: told what is being done.

    Returns:
      The evidence.

    Raises:
      InputError: the loss cannot be evaluated or differentiated.
    """
    frozen = setting.problem.freeze()
    loss, gradient = _first_gradient(frozen, setting.params)
    budget.pay(2 * GRADIENT)
    if not (np.isfinite(loss) and bool(vectors.all_finite(gradient))):
        origin, norm = find_non_finite(frozen, setting.params), float(vectors.norm(gradient))
        point = PointState(float(loss), norm, non_finite=origin)
        return Evidence(setting, point, data=check_labels(frozen, setting.params))
    seconds = _seconds(frozen, setting.params)
    problem = subsampled(setting.problem, seconds, setting.batch_size, budget, setting.seed)
    budget.gradient_seconds = seconds * (problem.num_examples or 1) / (setting.problem.num_examples or 1)
    setting = dataclasses.replace(setting, problem=problem)
    search = None if problem.data is None else search_outputs(problem.freeze(), setting.params, setting.seed)
    budget.aside += GRADIENT
    evidence = Evidence(setting, measure_point(setting, budget, search), program=ProgramChecks(search))
    for part, text, measure_part in MEASUREMENTS:
        if text:
            log(f"{text} ...")
        found = measure_part(evidence, budget)
        if isinstance(found, Skipped):
            budget.skipped.setdefault(part.rpartition(".")[2], found)
        else:
            evidence = evidence.with_part(part, found)
    return evidence


def measure_point(setting: Setting, budget: Budget, search: OutputSearch | None) -> PointState:
    """The loss and its gradient at the point, its randomness, the line downhill, the loss of a constant output."""
    problem, params = setting.problem, setting.params
    frozen = problem.freeze()
    loss, gradient = value_and_gradient(as_partial(frozen.loss), params, frozen.data)
    norm, size = float(vectors.norm(gradient)), max(float(vectors.norm(params)), 1.0)
    is_random = _is_random(problem, params)
    budget.pay(3 * GRADIENT)
    steepest = None
    if norm > 0 and budget.allows("the line downhill", NUM_LOSSES * LOSS):
        steepest = scan_line(frozen, params, _scaled(-1 / norm, gradient), size)
        budget.pay(NUM_LOSSES * LOSS)
    baseline, num_classes = constant_output(problem, params, search)
    budget.pay(LOSS)
    return PointState(float(loss), norm, size, is_random, steepest, baseline, num_classes)


def measure_inputs_of(evidence: Evidence, budget: Budget) -> InputStatistics | Skipped:
    """The statistics of the inputs."""
    found = measure_inputs(evidence.setting.problem, adaptive=evidence.setting.optimizer.kind == "adaptive")
    return found or Skipped("the problem has no floating inputs", applies=False)


def measure_layers(evidence: Evidence, budget: Budget) -> Layers | Skipped:
    """The layers' signals at the point."""
    setting = evidence.setting
    if setting.problem.data is None:
        return Skipped("the problem has no data", applies=False)
    if not budget.allows("layers", 3 * GRADIENT):
        return budget.skipped["layers"]
    signals = measure_signals(setting.problem, setting.params, seed=setting.seed)
    budget.pay(step_cost(setting.problem, _SIGNAL_EXAMPLES) * 2)
    return Layers(signals)


def measure_run(evidence: Evidence, budget: Budget) -> ProbeRun | Skipped:
    """The rule in use from the point, for as many steps as three tenths of the budget pay."""
    setting = evidence.setting
    problem, steps, a_step = setting.problem, setting.steps, step_cost(setting.problem, setting.batch_size)
    records = min(_RECORDS, steps or _RECORDS)
    afford = int((_RUN_SHARE * budget.total - records * LOSS) / a_step)
    taken = min(steps or setting.total_steps or _MOST_STEPS, afford, _MOST_STEPS)
    if taken < 2 or not budget.allows("run", taken * a_step):
        return Skipped("a few steps cost more than the budget: give a larger one")
    if steps is not None and taken < steps:
        budget.skip(f"the run after step {taken}", f"{steps} steps cost {steps * a_step:.0f} gradient-equivalents")
    run = probe_run(
        problem, setting.rule, setting.params, steps=taken, every=max(1, taken // records),
        batch_size=setting.batch_size, seed=setting.seed,
    )  # fmt: skip
    budget.pay(taken * a_step + len(run.steps) * LOSS)
    if run.status is Status.NON_FINITE:
        return find_on_the_way(problem, setting.rule, setting.params, run, setting.batch_size, setting.seed)
    return run


def measure_end_layers(evidence: Evidence, budget: Budget) -> Layers | Skipped:
    """The layers' signals where the run ended too."""
    setting, layers, run = evidence.setting, evidence.layers, evidence.run
    cost = step_cost(setting.problem, _SIGNAL_EXAMPLES) * 2
    if layers is None or run is None or run.diverged or not budget.allows("layers at the end", cost):
        return layers or Skipped("they were not measured at the point")
    budget.pay(cost)
    signals = measure_signals(setting.problem.freeze(run.model_state), run.params, seed=setting.seed)
    return dataclasses.replace(layers, end=signals)


def measure_gradient_noise(evidence: Evidence, budget: Budget) -> GradientNoise | Skipped:
    """The noise of one step's gradient at the end of the run."""
    setting, run, model = evidence.setting, evidence.run, evidence.model_at_end
    if run is None or run.diverged:
        return Skipped("there is no end of a run")
    if not evidence.is_random:
        return Skipped("every step sees the same gradient", applies=False)
    frozen, a_sample = setting.problem.freeze(run.model_state), step_cost(setting.problem, setting.batch_size)
    count = int(min(32, 0.1 * budget.total / a_sample))
    if count < 2 or not budget.allows("noise", count * a_sample):
        return budget.skipped.get("noise", Skipped("two gradients cost more than a tenth of the budget"))
    _, gradient = value_and_gradient(as_partial(frozen.loss), run.params, frozen.data)
    seen = model is not None and model.preconditioned
    noise = measure_noise(
        frozen, run.params, gradient, batch_size=setting.batch_size, num_samples=count, seed=setting.seed,
        preconditioner=diagonal_of(run.state, setting.optimizer.b2, run.params) if seen else None,
    )  # fmt: skip
    budget.pay(count * a_sample)
    return noise


def measure_stationary_point(evidence: Evidence, budget: Budget) -> StationaryPoint | Skipped:
    """What lies around the point, where the run stood still."""
    setting = evidence.setting
    if not evidence.is_stationary:
        return Skipped("training moves here, it does not stand still", applies=False)
    least, kept = 30 * budget.total / 200, _RATE_SHARE * budget.total if evidence.is_random else 0.0
    most = max(min(60 * budget.total / 200, budget.left - kept), least)
    if budget.left - kept < least:
        return Skipped("what is left goes into other learning rates")
    if not budget.allows("stationary_point", most):
        return budget.skipped["stationary_point"]
    around = budget.attempt("stationary_point", lambda: look_around(
        setting.problem, setting.params, setting.rule, size=evidence.point.size, batch_size=setting.batch_size,
        seed=setting.seed, most=most,
    ))  # fmt: skip
    if around is None:
        return budget.skipped["stationary_point"]
    found, cost = around
    budget.pay(cost)
    return found


def measure_other_rates(evidence: Evidence, budget: Budget) -> OtherRates | Skipped:
    """The run at other learning rates, unless the model already says what they do.

    What the budget does not pay of it is taken from what is beside it, at most a quarter of that.
    """
    setting = evidence.setting
    if evidence.run is None:
        return Skipped("there is no run to compare with")
    if evidence.follows_model and evidence.method is not None:
        return Skipped("the quadratic model tells what they do", applies=False)
    a_step = len(RATES) * step_cost(setting.problem, setting.batch_size)
    records = min(10, evidence.num_steps)
    most = max(min(_RATE_SHARE * budget.total, budget.left), _RATES_ASIDE * (ASIDE * budget.total - budget.aside))
    afford = int((most - records * len(RATES) * LOSS) / a_step)
    taken = min(evidence.num_steps, afford)
    if taken < 3:
        return Skipped("too little of the budget is left")
    rates = budget.attempt("rates", lambda: rate_runs(
        setting.problem, setting.rule, setting.params, steps=taken, every=max(1, taken // records),
        batch_size=setting.batch_size, seed=setting.seed,
    ))  # fmt: skip
    if rates is None:
        return budget.skipped["rates"]
    cost = taken * a_step + records * len(RATES) * LOSS
    budget.aside += max(cost - budget.left, 0.0)
    budget.pay(min(cost, budget.left))
    return rates


def measure_standardized_curvature(evidence: Evidence, budget: Budget) -> Curvature | Skipped:
    """The model at the point on standardized inputs too, where theirs are far off, with half as many products."""
    setting, inputs, models = evidence.setting, evidence.part("data.inputs"), evidence.curvature
    counts = (max(2, round(10 * budget.total / 200)), max(2, round(4 * budget.total / 200)))
    if models is None or inputs is None or not inputs.unnormalized or setting.optimizer.kind == "adaptive":
        return models or Skipped("the curvature was not measured")
    what = "curvature on standardized inputs"
    if not budget.allows(what, sum(counts) * PRODUCT):
        return models
    other = standardized(setting.problem)
    model = budget.attempt(what, lambda: model_around(other, setting.params, None, None, counts, setting.seed))
    if model is None:
        return models
    budget.pay(model.products * PRODUCT)
    return dataclasses.replace(models, standardized=model)


MEASUREMENTS: tuple[tuple[str, str, Callable[[Evidence, Budget], Any]], ...] = (
    ("data.inputs", "Layers and inputs", measure_inputs_of),
    ("layers", "", measure_layers),
    ("run", "A short run", measure_run),
    ("layers", "", measure_end_layers),
    ("validation", "Gradients, data and the rule", measure_validation),
    ("program", "", measure_program),
    ("data", "", measure_data),
    ("update.rule", "", measure_rule),
    ("update.decay", "", measure_decay),
    ("curvature", "Curvature", measure_curvature),
    ("program.memorization", "Sixteen examples", measure_memorization),
    ("update.noise", "Noise", measure_gradient_noise),
    ("point.stationary_point", "", measure_stationary_point),
    ("curvature", "", measure_standardized_curvature),
    ("rates", "Other rates", measure_other_rates),
    ("update.edge", "", measure_edge),
)
"""(part of the evidence, what is said before it, function), in the order in which they are measured.

What tells another program than meant costs little and comes before curvature: the seconds may end.
"""


def _first_gradient(problem: Problem, params: Any) -> tuple[jax.Array, Any]:
    """Loss and gradient at the point; an error in words where there is none."""
    try:
        return value_and_gradient(as_partial(problem.loss), params, problem.data)
    except Exception as error:
        why = reason(error)
        if "grad requires" in str(error):
            remedy = "diagnose needs parameters of a floating type and a loss written in JAX."
            raise fail(problem.name, f"the loss cannot be differentiated {why}", remedy) from error
        missing = "It has no data: give them as lab.from_loss(loss, params, data). " if problem.data is None else ""
        remedy = f"{missing}It is called as loss(params, batch, None): without a key it must be deterministic."
        raise fail(problem.name, f"the loss cannot be evaluated {why}", remedy) from error


def _seconds(problem: Problem, params: Any) -> float:
    """What one gradient of all data takes once it is compiled."""
    began = time.monotonic()
    jax.block_until_ready(value_and_gradient(as_partial(problem.loss), params, problem.data))
    return time.monotonic() - began


def _is_random(problem: Problem, params: Any) -> bool:
    """Whether two keys give two gradients."""
    keys = jax.random.split(jax.random.key(0))
    one, other = (sample_gradient(as_partial(problem.loss), params, problem.data, key) for key in keys)
    return not vectors.equal(one, other)
