"""A diagnosis as text and as one self-contained HTML page: verdict first, then evidence, prescription and proof."""

import dataclasses
import functools
import textwrap
from collections.abc import Sequence

import numpy as np

from jaxopt_lab.diagnosis.figures import draw_curvature, draw_layers, draw_losses, draw_proof
from jaxopt_lab.diagnosis.findings import Diagnosis, Finding
from jaxopt_lab.diagnosis.proving import Proof
from jaxopt_lab.reporting.numbers import plain_numbers
from jaxopt_lab.reporting.outcomes import Draw, inline_figures
from jaxopt_lab.reporting.page import render_template

_WIDTH = 100
_SHOWN_FINDINGS, _SHOWN_NUMBERS = 2, 5


def lines_of(diagnosis: Diagnosis, proofs: Sequence[Proof] = ()) -> list[str]:
    """The diagnosis as text.

    Args:
      diagnosis: what was found.
      proofs: of its prescriptions.

    Returns:
      Lines of at most 100 characters, but for what has no space in it: the first findings with their evidence, the
      others in a line each.
    """
    proven = {proof.cause: proof for proof in proofs}
    found = [f"{diagnosis.name}, {diagnosis.rule}", verdict_of(diagnosis, proofs), ""]
    for place, finding in enumerate(diagnosis.findings, 1):
        proof = proven.get(finding.cause)
        if place <= _SHOWN_FINDINGS or proof is not None:
            found += [*_finding_lines(place, finding, proof), ""]
        else:
            found += _wrapped([f"{place}. {finding.cause}: {finding.prescription.text}"], "")
    if diagnosis.not_examined:
        names = list(diagnosis.not_examined)
        shown = [f"Not examined: {', '.join(names)}.", f"{names[0]}: {diagnosis.not_examined[names[0]]}."]
        found += _wrapped(shown, "")
    cost = f"{diagnosis.spent:.0f} gradient-equivalents, {diagnosis.seconds:.1f} s"
    found.append(f"{cost}, {diagnosis.compiled} programs compiled.")
    return [plain_numbers(line) for line in found]


def verdict_of(diagnosis: Diagnosis, proofs: Sequence[Proof] = ()) -> str:
    """The verdict in one line: each cause with what its proof showed, else its short run, else the prediction.

    Example:
      >>> from jaxopt_lab.diagnosis.findings import Prescription, make_finding
      >>> found = make_finding("saddle", "", [], Prescription("", lambda p, r: (p, r)), 8.0)
      >>> verdict_of(Diagnosis("loss", "sgd", (found,), {}, 1.0, 1.0))
      'Verdict: saddle (removing it: 8 times fewer steps).'
    """
    if diagnosis.causes == ("healthy",):
        return "Verdict: healthy."
    if diagnosis.causes == ("nothing-found",):
        return f"Verdict: nothing found; not examined: {', '.join(diagnosis.not_examined)}."
    if diagnosis.causes == ("unexplained",):
        return "Verdict: unexplained: the run learns next to nothing, and no cause that was examined holds."
    proven = {proof.cause: proof for proof in proofs}
    return f"Verdict: {'; '.join(_named(found, proven.get(found.cause)) for found in diagnosis.findings)}."


def _named(finding: Finding, proof: Proof | None) -> str:
    if proof is not None:
        return f"{finding.cause} ({proof.outcome})"
    if finding.trial is not None and finding.trial.helps:
        gain = "it trains" if np.isinf(finding.trial.gain) else f"{finding.trial.gain:.3g} times better"
        return f"{finding.cause} (removed in a short run: {gain})"
    if finding.prescription.change is None or finding.trial is not None:
        return finding.cause
    return f"{finding.cause} (removing it: {finding.predicted_gain})"


def page_of(diagnosis: Diagnosis, proofs: Sequence[Proof] = ()) -> str:
    """The diagnosis as HTML that asks for nothing from elsewhere.

    Args:
      diagnosis: with its evidence.
      proofs: of its prescriptions.
    """
    proven = {proof.cause: proof for proof in proofs}
    parts = [_Part(found, _prediction(found), proven.get(found.cause)) for found in diagnosis.findings]
    return render_template(
        "diagnosis.html.j2", diagnosis=diagnosis, verdict=verdict_of(diagnosis, proofs), parts=parts,
        figures=inline_figures(draws_of(diagnosis, proofs)),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Part:
    finding: Finding
    gain: str
    proof: Proof | None


def _prediction(finding: Finding) -> str:
    """The predicted gain, and what runs as long as the proof's will show of it where that is another number."""
    gain = finding.predicted_gain
    if gain.in_run_of is None or not 0 < gain.value < float("inf"):
        return str(gain)
    seen = gain.in_run_of(gain.horizon)
    return str(gain) + ("" if abs(seen / gain.value - 1) < 0.1 else f"; {seen:.3g} in runs of {gain.horizon} steps")


def _finding_lines(place: int, finding: Finding, proof: Proof | None) -> list[str]:
    lines = [f"{place}. {finding.cause}", *_wrapped([finding.explanation], "   ")]
    numbers = [str(measurement) for measurement in finding.evidence]
    more = [f"and {len(numbers) - _SHOWN_NUMBERS} more numbers"] if len(numbers) > _SHOWN_NUMBERS else []
    lines += ["   Evidence", *_wrapped([*numbers[:_SHOWN_NUMBERS], *more], "     ")]
    if finding.cause in ("healthy", "nothing-found"):
        return lines
    lines += ["   Prescription", *_wrapped([finding.prescription.text], "     ")]
    if finding.trial is not None:
        lines += _wrapped([f"Measured: {finding.trial}."], "     ")
    lines += _wrapped([f"Predicted: {_prediction(finding)}."], "     ")
    lines += _wrapped([f"Or: {each.text}" for each in finding.alternatives], "     ")
    return lines if proof is None else [*lines, "   Proof", *_wrapped([str(proof)], "     ")]


def _wrapped(sentences: Sequence[str], indent: str) -> list[str]:
    fold = textwrap.TextWrapper(_WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False)
    return [line for sentence in sentences for line in fold.wrap(sentence)]


def draws_of(diagnosis: Diagnosis, proofs: Sequence[Proof] = ()) -> list[Draw]:
    """The figures of the page: the proofs, then the short run, the curvatures and the layers."""
    evidence = diagnosis.evidence
    parts = () if evidence is None else (draw_losses, draw_curvature, draw_layers)
    return [
        *(functools.partial(draw_proof, proof) for proof in proofs),
        *(functools.partial(draw, evidence) for draw in parts),
    ]
