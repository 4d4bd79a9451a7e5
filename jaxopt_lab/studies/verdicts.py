"""The forms that a claim usually has, each one line of a `judge`: predicted number against measured number.

`relative` and `absolute` compare with a value that is known, `within` with one that is known up to sampling, `at_most`
and `at_least` with a bound. All take the claim in plain words, what was measured, and two numbers. `everywhere` makes
one of the first three of many rows at once.
"""

from jaxopt_lab.core import Verdict
from jaxopt_lab.core.verdict import judge
from jaxopt_lab.studies.rows import Rows

__all__ = ["absolute", "at_least", "at_most", "everywhere", "relative", "within"]

STANDARD_ERRORS = 4.0  # a true claim then fails by chance once in 16,000 times


def relative(
    claim: str,
    quantity: str,
    predicted: float,
    measured: float,
    tolerance: float,
    *,
    unit: str = "",
    reference: str = "",
) -> Verdict:
    """Holds where |measured / predicted - 1| <= tolerance.

    Args:
      claim: one sentence in plain words.
      quantity: what was measured.
      predicted: the known value.
      measured: the measured one.
      tolerance: the largest error with which the claim holds; its reason stands beside it.
      unit: of both numbers.
      reference: where the prediction is from.

    Example:
      >>> relative("Descent is fastest at 2 / (L + mu)", "factor a step", 0.98, 0.9801, 0.01).holds
      True
    """
    return judge(claim, quantity, predicted, measured, tolerance, unit=unit, reference=reference)


def absolute(
    claim: str,
    quantity: str,
    predicted: float,
    measured: float,
    tolerance: float = 0.0,
    *,
    unit: str = "",
    reference: str = "",
) -> Verdict:
    """Holds where |measured - predicted| <= tolerance, 0 for counts; arguments as in `relative`.

    Example:
      >>> absolute("Every run arrives", "share of the runs", 1.0, 0.98).holds
      False
    """
    return judge(claim, quantity, predicted, measured, tolerance, kind="absolute", unit=unit, reference=reference)


def within(
    claim: str,
    quantity: str,
    predicted: float,
    measured: float,
    standard_error: float | None,
    *,
    beyond: float = 0.0,
    unit: str = "",
    reference: str = "",
) -> Verdict:
    """Holds where |measured - predicted| is at most four standard errors.

    Args:
      claim: one sentence in plain words.
      quantity: what was measured.
      predicted: the known value.
      measured: the measured one.
      standard_error: of the difference of the two.
      beyond: what the prediction itself leaves out, added to the four; its reason stands beside it.
      unit: of both numbers.
      reference: where the prediction is from.

    Example:
      >>> within("Noise is white", "variance", 1.0, 1.05, 0.02).holds
      True
    """
    tolerance = STANDARD_ERRORS * (standard_error or 0.0) + beyond
    return judge(claim, quantity, predicted, measured, tolerance, kind="within", unit=unit, reference=reference)


def at_most(
    claim: str,
    quantity: str,
    bound: float,
    measured: float,
    *,
    tolerance: float = 0.0,
    unit: str = "",
    reference: str = "",
) -> Verdict:
    """Holds where measured <= bound, up to a tolerance for rounding.

    Example:
      >>> at_most("No run spends more than its budget", "most gradients over the budget", 1.0, 1.2).error.__round__(2)
      0.2
    """
    return judge(claim, quantity, bound, measured, tolerance, kind="at-most", unit=unit, reference=reference)


def at_least(
    claim: str,
    quantity: str,
    bound: float,
    measured: float,
    *,
    tolerance: float = 0.0,
    unit: str = "",
    reference: str = "",
) -> Verdict:
    """Holds where measured >= bound, up to a tolerance for rounding.

    Example:
      >>> at_least("Momentum is many times faster", "steps of descent over its own", 5.0, 8.7).holds
      True
    """
    return judge(claim, quantity, bound, measured, tolerance, kind="at-least", unit=unit, reference=reference)


def everywhere(
    claim: str,
    quantity: str,
    rows: Rows,
    measured: str,
    predicted: str,
    *,
    errors: str = "",
    relatively: float | None = None,
    absolutely: float | None = None,
    unit: str = "",
    reference: str = "",
) -> Verdict:
    """Holds where every row's measurement is what was predicted for it: judged on the row that is furthest off.

    One of three says how far: `errors`, four standard errors each; `relatively`, as in `relative`; or `absolutely`.

    Args:
      claim: one sentence in plain words.
      quantity: what was measured; what stands in braces is taken from the row: "steps at h = {h:g}".
      rows: at least one.
      measured: the name of the measured number in a row.
      predicted: the name of the predicted one.
      errors: the name of the standard error.
      relatively: the largest relative error with which the claim holds; its reason stands beside it.
      absolutely: the largest absolute one.
      unit: of both numbers.
      reference: where the prediction is from.

    Example:
      >>> rows = Rows([{"h": 0.1, "steps": 100, "law": 100.2}, {"h": 1.0, "steps": 12, "law": 11.6}])
      >>> verdict = everywhere("The law holds", "steps at h = {h:g}", rows, "steps", "law", absolutely=1.0)
      >>> verdict.quantity, verdict.holds
      ('steps at h = 1', True)
    """
    row = rows.furthest(measured, predicted, errors=errors, relative=relatively is not None)
    form = within if errors else relative if relatively is not None else absolute
    allowed = row[errors] if errors else relatively if relatively is not None else absolutely
    numbers = row[predicted], row[measured], allowed or 0.0
    return form(claim, quantity.format(**row), *numbers, unit=unit, reference=reference)
