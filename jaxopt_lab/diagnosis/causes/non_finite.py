"""non-finite: the loss, its gradient, a parameter or the data hold a number that is infinite or not a number.

No threshold: one such number is enough. A run that grows step by step until it overflows is another cause, a learning
rate that is too high.
"""

from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, make_finding, read
from jaxopt_lab.diagnosis.prescriptions import advise, drop_examples


def examine(known: Evidence) -> Finding | None:
    """The finding, or None."""
    culprit = known.culprit
    if culprit is None and known.signs is not None and known.signs.first_wrong is not None:
        words = f"In the training loop loss or gradient are not finite from step {known.signs.first_wrong} on."
        cure = advise("Diagnose at parameters from just before that step; they are finite here.")
        return make_finding("non-finite", words, [read("loss at the point", known.loss)], cure, float("inf"))
    if culprit is None:
        return None
    evidence = [read("loss at the point", known.loss), read("gradient norm at the point", known.gradient_norm)]
    examples = culprit.examples
    cure = drop_examples(len(examples)) if len(examples) else advise("Mend the operation that is named, or its input.")
    words = culprit.sentence if known.wrong_step is None else f"At step {known.wrong_step}: {culprit.sentence}"
    return make_finding("non-finite", words, evidence, cure, float("inf"))
