"""A diagnosis as lines of text: verdict first, then evidence, prescription and proof."""

import textwrap
from collections.abc import Sequence

import numpy as np

from jaxopt_lab.diagnosis.findings import Diagnosis, Finding
from jaxopt_lab.diagnosis.proving import Proof

_WIDTH = 100
_UNITS = {"steps": "times fewer steps", "loss": "times less loss", "validation loss": "times less validation loss"}


def lines_of(diagnosis: Diagnosis, proofs: Sequence[Proof] = ()) -> list[str]:
    """The page.

    Args:
      diagnosis: what was found.
      proofs: of its prescriptions.

    Returns:
      Lines of at most 100 characters, but for what has no space in it.
    """
    proven = {proof.cause: proof for proof in proofs}
    found = [f"{diagnosis.name}, {diagnosis.rule}", verdict_of(diagnosis), ""]
    for place, finding in enumerate(diagnosis.findings, 1):
        found += [*_finding_lines(place, finding, proven.get(finding.cause)), ""]
    if diagnosis.not_examined:
        found.append("Not examined:")
        found += _wrapped([f"{what}: {why}." for what, why in diagnosis.not_examined.items()], "  ")
    found.append(f"{diagnosis.spent:.0f} gradient-equivalents, {diagnosis.seconds:.1f} s.")
    return found


def verdict_of(diagnosis: Diagnosis) -> str:
    """The verdict in one line.

    Example:
      >>> from jaxopt_lab.diagnosis.findings import Prescription, make_finding
      >>> found = make_finding("saddle", "", [], Prescription(""), 8.0)
      >>> verdict_of(Diagnosis("loss", "sgd", (found,), {}, 1.0, 1.0))
      'Verdict: saddle (removing it: 8 times fewer steps).'
    """
    if diagnosis.causes == ("healthy",):
        return "Verdict: healthy."
    named = [f"{finding.cause} (removing it: {gain_of(finding)})" for finding in diagnosis.findings]
    return f"Verdict: {'; '.join(named)}."


def gain_of(finding: Finding) -> str:
    """The predicted gain in words."""
    if np.isinf(finding.predicted_gain.value):
        return "it trains at all"
    return f"{finding.predicted_gain.value:.3g} {_UNITS[finding.gain_in]}"


def prediction_of(finding: Finding) -> str:
    """The same, and what runs as long as the proof's will show of it where that is another number."""
    gain = finding.predicted_gain.value
    if finding.forecast is None or not np.isfinite(gain):
        return gain_of(finding)
    seen = finding.forecast(finding.horizon)
    return gain_of(finding) + ("" if abs(seen / gain - 1) < 0.1 else f"; {seen:.3g} in runs of {finding.horizon} steps")


def _finding_lines(place: int, finding: Finding, proof: Proof | None) -> list[str]:
    lines = [f"{place}. {finding.cause}", *_wrapped([finding.explanation], "   ")]
    lines += ["   Evidence", *_wrapped([reading.line() for reading in finding.evidence], "     ")]
    if finding.cause == "healthy":
        return lines
    lines += [
        "   Prescription",
        *_wrapped([finding.prescription.words, f"Predicted: {prediction_of(finding)}."], "     "),
    ]
    lines += _wrapped([f"Or: {each.words}" for each in finding.alternatives], "     ")
    if proof is not None:
        lines += ["   Proof", *_wrapped([proof.line()], "     ")]
    return lines


def _wrapped(sentences: Sequence[str], indent: str) -> list[str]:
    fold = textwrap.TextWrapper(_WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False)
    return [line for sentence in sentences for line in fold.wrap(sentence)]
