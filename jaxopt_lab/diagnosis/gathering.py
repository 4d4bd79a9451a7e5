"""The evidence, gathered within a budget.

Each part costs what `budgets` says, in this order: what tells most for least comes first. Where a run made no progress
what surrounds the point is looked at too.
"""

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab import curvature, training
from jaxopt_lab.core import Problem, Status, as_partial, describe, fail, reason, require_trainable, vectors
from jaxopt_lab.diagnosis import budgets, runs
from jaxopt_lab.diagnosis.budgets import Budget
from jaxopt_lab.diagnosis.culprits import find_culprit
from jaxopt_lab.diagnosis.divergence import culprit_on_the_way
from jaxopt_lab.diagnosis.endings import look_at_end
from jaxopt_lab.diagnosis.evaluations import knowing_nothing, sample_gradient, share_of_data, value_and_gradient
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.identification import identify, weight_decay
from jaxopt_lab.diagnosis.inputs import measure_inputs, standardized
from jaxopt_lab.diagnosis.layers import measure_signals
from jaxopt_lab.diagnosis.lines import NUM_LOSSES, fall_along
from jaxopt_lab.diagnosis.local_models import LocalModel, measure_model
from jaxopt_lab.diagnosis.monitoring import is_monitor
from jaxopt_lab.diagnosis.signs import Signs, read_signs
from jaxopt_lab.diagnosis.surroundings import look_around
from jaxopt_lab.diagnosis.thinning import thinned

_RUN_SHARE = 0.3
_RATE_SHARE = 0.2
_MOST_STEPS = 1000
_RECORDS = 25


def gather(
    problem: Problem, rule: optax.GradientTransformation, *, params: Any, steps: int | None, batch_size: int | None,
    seed: int, opt_state: Any, budget: Budget, log: Callable[[str], None],
) -> Evidence:  # fmt: skip
    """Measures what the budget allows.

    Args:
      problem: what is trained.
      rule: the rule in use.
      params: the point; None for the beginning of training.
      steps: of the probe run; None chooses.
      batch_size: examples a step; None for all.
      seed: seeds everything that is drawn.
      opt_state: of the rule at the point, from a running training loop; None without one.
      budget: is charged.
      log: gets what is being done, a line at a time.

    Returns:
      The evidence.
    """
    from_init = params is None
    point = problem.init(jax.random.key(seed)) if from_init else params
    _require_real(point)
    training.require_rule("diagnose", lambda: rule, {}, point)
    frozen = problem.freeze()
    value, gradient = _first_gradient(frozen, point)
    known = Evidence(
        problem, rule, identify(rule, point), point, from_init, 0, batch_size, seed, decay=weight_decay(rule, point),
        opt_state=opt_state, signs=_signs(opt_state, batch_size),
    )  # fmt: skip
    add = lambda **fields: dataclasses.replace(known, **fields)  # noqa: E731
    budget.pay(2 * budgets.GRADIENT)
    if not (np.isfinite(value) and bool(vectors.all_finite(gradient))):
        return add(culprit=find_culprit(frozen, point), loss=float(value), gradient_norm=float(vectors.norm(gradient)))
    known = add(problem=thinned(problem, _seconds(frozen, point), batch_size, budget, seed))
    known = add(**_look_at_point(known.problem, point, budget))
    log("Layers and inputs ...")
    known = add(**_look_at_parts(known, budget))
    log("A short run ...")
    known = add(**_run(known, steps, budget))
    if known.run is not None and known.run.status is Status.NON_FINITE:
        culprit, step = culprit_on_the_way(known.problem, rule, point, known.run, batch_size, seed) or (None, None)
        known = add(culprit=culprit, wrong_step=step)
    log("Curvature ...")
    known = add(**_curvature(known, budget))
    log("Noise ...")
    known = add(**look_at_end(known, budget))
    if known.still:
        log("What lies around ...")
        known = add(**_surroundings(known, budget))
    known = add(**_standardized(known, budget))
    log("Other rates ...")
    return add(**_rates(known, budget))


def _require_real(params: Any) -> None:
    """Raises unless there are parameters, all of them real and floating: curvature needs nothing less."""
    require_trainable("diagnose", params)
    if not vectors.size(params):
        raise fail("diagnose", "the parameters hold no number")
    for path, leaf in zip(vectors.parameter_paths(params), jax.tree.leaves(params), strict=True):
        if jnp.iscomplexobj(leaf):
            label = f"parameter {path}" if path else "the parameter"
            raise fail(
                "diagnose", f"{label} is complex ({describe(leaf)})",
                "Give its real and imaginary parts as parameters, and let the loss make it of them.",
            )  # fmt: skip


def _signs(opt_state: Any, batch_size: int | None) -> Signs | None:
    """What a monitor in the state has recorded; None without a state or a monitor."""
    if opt_state is None or not any(map(is_monitor, jax.tree.leaves(opt_state, is_leaf=is_monitor))):
        return None
    return read_signs(opt_state, batch_size)


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


def _look_at_point(problem: Problem, params: Any, budget: Budget) -> dict[str, Any]:
    frozen = problem.freeze()
    value, gradient = value_and_gradient(as_partial(frozen.loss), params, frozen.data)
    loss, norm = float(value), float(vectors.norm(gradient))
    size = max(float(vectors.norm(params)), 1.0)
    found: dict[str, Any] = {"loss": loss, "gradient_norm": norm, "size": size}
    found["noisy_loss"] = _is_noisy(problem, params)
    budget.pay(3 * budgets.GRADIENT)
    if norm > 0 and budget.allows("the line downhill", NUM_LOSSES * budgets.LOSS):
        found["downhill"] = fall_along(frozen, params, vectors.scale(-1 / norm, gradient), size)
        budget.pay(NUM_LOSSES * budgets.LOSS)
    return found


def _is_noisy(problem: Problem, params: Any) -> bool:
    """Whether two keys give two gradients."""
    keys = jax.random.split(jax.random.key(0))
    one, other = (sample_gradient(as_partial(problem.loss), params, problem.data, key) for key in keys)
    return not vectors.equal(one, other)


def _look_at_parts(known: Evidence, budget: Budget) -> dict[str, Any]:
    problem = known.problem
    found: dict[str, Any] = {"inputs": measure_inputs(problem, adaptive=known.in_use.kind == "adaptive")}
    found["baseline"], found["num_classes"] = knowing_nothing(problem, known.params)
    budget.pay(budgets.LOSS)
    if problem.data is not None and budget.allows("layers", 3 * budgets.GRADIENT):
        found["signals"] = measure_signals(problem, known.params, seed=known.seed)
        budget.pay(share_of_data(problem, 256) * 2)
    return found


def _run(known: Evidence, steps: int | None, budget: Budget) -> dict[str, Any]:
    a_step = share_of_data(known.problem, known.batch_size)
    records = min(_RECORDS, steps or _RECORDS)
    afford = int((_RUN_SHARE * budget.total - records * budgets.LOSS) / a_step)
    wanted = _MOST_STEPS if steps is None else steps
    taken = min(wanted, afford, _MOST_STEPS)
    if taken < 2 or not budget.allows("probe run", taken * a_step):
        budget.refused["probe run"] = "a few steps cost more than the budget: give a larger one"
        return {}
    if steps is not None and taken < steps:
        budget.refused[f"the run after step {taken}"] = f"{steps} steps cost {steps * a_step:.0f} gradient-equivalents"
    run = runs.probe_run(
        known.problem, known.rule, known.params, steps=taken, every=max(1, taken // records),
        batch_size=known.batch_size, seed=known.seed,
    )  # fmt: skip
    budget.pay(taken * a_step + len(run.steps) * budgets.LOSS)
    return {"run": run, "steps": taken}


def _curvature(known: Evidence, budget: Budget) -> dict[str, Any]:
    """Where the run stood still, all products at the point; else a few there and most where it ended.

    A deterministic run of a rule whose edge is known needs no other rates: what those cost goes into products.
    """
    run = known.run
    moved = run is not None and not run.diverged and not known.still
    adaptive = known.in_use.kind == "adaptive"
    known_rule = not known.random and known.in_use.kind in ("gradient descent", "heavy ball", "Nesterov")
    at_point, at_end = ((6, 3), (42 if known_rule else 20, 4)) if moved else ((20, 8), (12, 4) if adaptive else (0, 0))
    found: dict[str, Any] = {}
    for name, counts in (("model", at_point), ("model_end", at_end)):
        along, random = (max(2, round(count * budget.total / 200)) for count in counts)
        if not any(counts) or (name == "model_end" and (run is None or run.diverged)):
            continue
        if budget.allows("curvature", (along + random) * budgets.PRODUCT):
            there = (known.params, None, known.opt_state if adaptive else None) if name == "model" or run is None else (
                run.params, run.model_state, run.state if adaptive else None
            )  # fmt: skip
            model = budget.attempt("curvature", partial(_model, known, *there, (along, random)))
            if model is None:
                break
            found[name] = model
            budget.pay(model.products * budgets.PRODUCT)
    return found


def _standardized(known: Evidence, budget: Budget) -> dict[str, Any]:
    """The model at the point on standardized inputs, with half as many products as a point gets."""
    counts = (max(2, round(10 * budget.total / 200)), max(2, round(4 * budget.total / 200)))
    if known.inputs is None or not known.inputs.unnormalized or known.in_use.kind == "adaptive":
        return {}
    if not budget.allows("curvature on standardized inputs", sum(counts) * budgets.PRODUCT):
        return {}
    other = dataclasses.replace(known, problem=standardized(known.problem))
    what = "curvature on standardized inputs"
    model = budget.attempt(what, lambda: _model(other, known.params, None, None, counts))
    if model is None:
        return {}
    budget.pay(model.products * budgets.PRODUCT)
    return {"model_standardized": model}


def _model(known: Evidence, params: Any, model_state: Any, state: Any, counts: tuple[int, int]) -> LocalModel:
    frozen = known.problem.freeze(model_state)
    value, gradient = value_and_gradient(as_partial(frozen.loss), params, frozen.data)
    preconditioner = None
    if state is not None:
        try:
            preconditioner = curvature.preconditioner_of(state)
        except ValueError:
            preconditioner = None
    return measure_model(
        curvature.hessian(frozen, params), gradient, float(value), num_products=counts[0], num_random=counts[1],
        seed=known.seed, preconditioner=preconditioner,
    )  # fmt: skip


def _surroundings(known: Evidence, budget: Budget) -> dict[str, Any]:
    least, kept = 30 * budget.total / 200, _RATE_SHARE * budget.total if known.random else 0.0
    cost = max(min(60 * budget.total / 200, budget.left - kept), least)
    if budget.left - kept < least:
        budget.refused["surroundings of the point"] = "what is left goes into other learning rates"
        return {}
    if not budget.allows("surroundings of the point", cost):
        return {}
    around = budget.attempt("surroundings of the point", lambda: look_around(
        known.problem, known.params, known.rule, size=known.size, batch_size=known.batch_size, seed=known.seed,
        most=cost,
    ))  # fmt: skip
    if around is None:
        return {}
    budget.pay(around.cost)
    return {"surroundings": around}


def _rates(known: Evidence, budget: Budget) -> dict[str, Any]:
    if known.run is None or (known.exact and known.method is not None):
        return {}
    a_step = len(runs.RATES) * share_of_data(known.problem, known.batch_size)
    records = min(10, known.steps)
    afford = int((min(_RATE_SHARE * budget.total, budget.left) - records * len(runs.RATES) * budgets.LOSS) / a_step)
    taken = min(known.steps, afford)
    if taken < 3:
        budget.refused["other learning rates"] = "too little of the budget is left"
        return {}
    every = max(1, taken // records)
    rate_steps, rates = runs.rate_runs(
        known.problem, known.rule, known.params, steps=taken, every=every, batch_size=known.batch_size, seed=known.seed
    )  # fmt: skip
    budget.pay(taken * a_step + records * len(runs.RATES) * budgets.LOSS)
    return {"rates": rates, "rate_steps": rate_steps}
