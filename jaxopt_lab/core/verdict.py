"""`Verdict`: one claim, as a predicted number beside a measured one, and whether it holds."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from jaxopt_lab.core.errors import require_choice

KINDS = ("relative", "absolute", "at-most", "at-least", "within")
_BOUNDS = {"at-most": "at most", "at-least": "at least"}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The outcome of one claim; the fields are those of `verdicts.json`.

    Attributes:
      claim: one sentence in plain words.
      quantity: what was measured.
      predicted: the closed form's value, or the bound of a one-sided claim.
      measured: the measured value.
      error: the distance between the two, in the sense of `kind`; 0 on the right side of a bound.
      tolerance: the largest error with which the claim holds.
      holds: whether error <= tolerance.
      unit: the unit of predicted and measured, "" for pure numbers.
      reference: where the prediction is from.
      kind: how the error is taken, as in `judge`.
    """

    claim: str
    quantity: str
    predicted: float
    measured: float
    error: float
    tolerance: float
    holds: bool
    unit: str = ""
    reference: str = ""
    kind: str = "relative"

    @property
    def bound(self) -> str:
        """The side of a one-sided claim, "at least" or "at most"; "" for a predicted value."""
        return _BOUNDS.get(self.kind, "")

    def __str__(self) -> str:
        """The verdict as one printed line."""
        word, unit = "holds" if self.holds else "FAILS", f" {self.unit}" if self.unit else ""
        if self.bound:
            missed = f" (missed by {self.error:.2g}, allowed {self.tolerance:.2g})" if self.error else ""
            said = f"measured {self.measured:.6g}{unit}, {self.bound} {self.predicted:.6g}{missed}"
        else:
            errors = f"(error {self.error:.2g}, allowed {self.tolerance:.2g})"
            said = f"measured {self.measured:.6g}{unit}, predicted {self.predicted:.6g} {errors}"
        return f"[{word}] {self.claim}: {self.quantity}, {said}"

    def to_json(self) -> dict[str, Any]:
        """The verdict as a dictionary of JSON values."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> "Verdict":
        """The verdict that `to_json` made a dictionary of.

        Raises:
          Exception: of any kind where it did not.
        """
        numbers = {name: float(stored[name]) for name in ("predicted", "measured", "error", "tolerance")}
        fields: dict[str, Any] = dict(stored) | numbers
        found = Verdict(**fields)
        texts = (found.claim, found.quantity, found.unit, found.reference)
        if not all(isinstance(text, str) for text in texts) or not isinstance(found.holds, bool):
            raise ValueError("a field has another type")
        require_choice("Verdict", "kind", found.kind, KINDS)
        return found


def judge(
    claim: str,
    quantity: str,
    predicted: float,
    measured: float,
    tolerance: float,
    *,
    kind: str = "relative",
    unit: str = "",
    reference: str = "",
) -> Verdict:
    """Compares a measurement with its prediction.

    Args:
      claim: one sentence in plain words.
      quantity: what was measured.
      predicted: the closed form's value, or the bound for "at-most" and "at-least".
      measured: the measured value.
      tolerance: the largest error with which the claim holds.
      kind: how the error is taken: "relative" |m - p| / |p|, "absolute" |m - p|, "at-most" max(0, m - p),
        "at-least" max(0, p - m), "within" |m - p| with `tolerance` a statistical bound such as 4 standard errors.
      unit: the unit of predicted and measured.
      reference: where the prediction is from.

    Returns:
      The verdict; a measurement that is not finite never holds.

    Example:
      >>> judge("rate", "contraction", 0.98, 0.9801, 0.01).holds
      True
    """
    require_choice("judge", "kind", kind, KINDS)
    predicted, measured = float(predicted), float(measured)
    error = abs(measured - predicted)
    if kind == "relative":
        error = error / abs(predicted) if predicted else math.inf
    elif kind == "at-most":
        error = max(0.0, measured - predicted)
    elif kind == "at-least":
        error = max(0.0, predicted - measured)
    holds = math.isfinite(measured) and error <= tolerance
    return Verdict(claim, quantity, predicted, measured, error, float(tolerance), holds, unit, reference, kind)
