"""non-finite: the loss, its gradient, a parameter or the data hold a number that is infinite or not a number.

No threshold: one such number is enough. A run that grows step by step until it overflows is another cause, a learning
rate that is too high. An update that is not finite though its gradient is comes from the rule: an epsilon that is zero
in the parameters' precision, beside a gradient of zero.
"""

import jax
import numpy as np

from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, make_finding, measured
from jaxopt_lab.diagnosis.inputs import find_inputs
from jaxopt_lab.diagnosis.prescriptions import advise, drop_examples, guard_line, keep_precision, zero_inputs
from jaxopt_lab.tracing.non_finite import GUARDED


def examine(evidence: Evidence) -> Finding | None:
    """A finding where a number is not finite at the point, on the way or in the monitored training loop."""
    origin, monitor = evidence.non_finite, evidence.setting.monitor
    measurements = [measured("loss at the point", evidence.point.loss)]
    if origin is None and evidence.update.rule is not None and not evidence.update.rule.is_finite:
        dtypes = sorted({str(leaf.dtype) for leaf in jax.tree.leaves(evidence.setting.params)})
        text = f"The rule's update to a finite gradient is not finite (parameters in {', '.join(dtypes)})."
        cure = keep_precision()
        return make_finding("non-finite", text, measurements, cure, float("inf"), horizon=evidence.num_steps)
    if origin is None:
        if monitor is None or monitor.first_wrong is None:
            return None
        text = f"In the training loop loss or gradient are not finite from step {monitor.first_wrong} on."
        cure = advise("Diagnose at parameters from just before that step; they are finite here.")
        return make_finding("non-finite", text, measurements, cure, float("inf"))
    measurements.append(measured("gradient norm at the point", evidence.point.gradient_norm))
    count = len(origin.examples)
    cure = drop_examples(count) if count else advise("Fix the operation that is named, or its input.")
    if origin.name in GUARDED and origin.line:
        cure = guard_line(origin.line)
    if _has_empty_features(evidence):
        cure = zero_inputs()
    step = None if evidence.run is None else evidence.run.non_finite_step
    text = str(origin) if step is None else f"At step {step}: {origin}"
    blamed = () if origin.kind == "data" else ("label-range",)  # optax gives NaN for a label that names no output
    return make_finding("non-finite", text, measurements, cure, float("inf"), follows_from=blamed)


def _has_empty_features(evidence: Evidence) -> bool:
    """Whether a feature of the inputs is finite in no example."""
    data = evidence.setting.problem.data
    place = None if data is None else find_inputs(data)
    return place is not None and not np.isfinite(np.asarray(jax.tree.leaves(data)[place], np.float64)).any(0).all()
