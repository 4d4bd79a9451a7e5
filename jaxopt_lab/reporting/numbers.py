"""Numbers as people write them: 10,000 and not 1e+04, 2 × 10⁻⁶ on a page and 2e-6 in a terminal, 3 min 4 s."""

import math
import re
from typing import Any

from jaxopt_lab.storage.encoding import from_json

_MINUS = "\N{MINUS SIGN}"
_WRITTEN_OUT = 7  # digits before the point up to which a number is written out
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SIGN_OF = {">=": "≥", "<=": "≤", "+-": "±"}
_SIGNS = re.compile(r"(?<![\w=<>])(?:>=|<=|\+-)(?= )")
_EXPONENTIAL = re.compile(r"(?<![\w.])(\d(?:\.\d+)?)e([+-]?)0*(\d+)(?![\w.]*\w)")


def format_number(value: float, digits: int = 6) -> str:
    """A number as the page shows it.

    Example:
      >>> [format_number(x) for x in (6.5e6, 0.9801980198, 1000.0, -10000.0, 2.5e-7, 1e12, float("inf"))]
      ['6,500,000', '0.980198', '1000', '−10,000', '2.5 × 10⁻⁷', '10¹²', '∞']
      >>> format_number(0.0123456, 2)
      '0.012'
    """
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else ("∞" if value > 0 else f"{_MINUS}∞")
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    rounded = float(f"{mantissa}e{exponent}")
    if not 1e-3 <= abs(rounded) < 10**_WRITTEN_OUT:
        return _power(_trimmed(mantissa), int(exponent)).replace("-", _MINUS)
    if abs(rounded) < 1e4:
        return f"{value:.{digits}g}".replace("-", _MINUS)
    return _trimmed(f"{rounded:,.{max(0, digits - 1 - int(exponent))}f}").replace("-", _MINUS)


def format_setting(value: Any) -> str:
    """A config's entry as the page shows it.

    Example:
      >>> format_setting([10.0, 1e6, "inf"]), format_setting(True)
      ('10; 1,000,000; ∞', 'yes')
    """
    value = from_json(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        shown = [format_setting(item) for item in value]
        return ("; " if any("," in each for each in shown) else ", ").join(shown)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {format_setting(item)}" for key, item in value.items())
    if isinstance(value, float):
        return format_number(value, 6 if float(f"{value:.6g}") == value else 12)
    return str(value)


def format_duration(seconds: float) -> str:
    """Seconds in words of a fitting size.

    Example:
      >>> format_duration(0.25), format_duration(12.34), format_duration(184.0)
      ('0.25 s', '12.3 s', '3 min 4 s')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def plain_numbers(text: str, *, powers: bool = False) -> str:
    """A text with its numbers as people write them.

    Args:
      text: what Python has written, 1e+04 among it.
      powers: write powers of ten as 10⁻⁶, and ≥, ≤ and ± as signs, for a page or a figure; else 1e-6, which every
        terminal shows.

    Example:
      >>> plain_numbers("1.01e+03 times fewer steps at 1e-06"), plain_numbers(">= 2.5e-06, 1e+09", powers=True)
      ('1,010 times fewer steps at 1e-6', '≥ 2.5 × 10⁻⁶, 10⁹')
    """

    def written(match: re.Match[str]) -> str:
        mantissa, sign, digits = match.groups()
        exponent = -int(digits) if sign == "-" else int(digits)
        if sign == "+" and exponent < _WRITTEN_OUT:
            places = max(0, len(mantissa.partition(".")[2]) - exponent)
            return f"{float(mantissa + 'e' + digits):,.{places}f}"
        return _power(mantissa, exponent) if powers else f"{mantissa}e{exponent}"

    plain = _EXPONENTIAL.sub(written, text)
    return _SIGNS.sub(lambda match: _SIGN_OF[match[0]], plain) if powers else plain


def _trimmed(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


def _power(mantissa: str, exponent: int) -> str:
    power = "10" + str(exponent).translate(_SUPERSCRIPTS)
    if mantissa in ("1", "-1"):
        return mantissa[:-1] + power
    return f"{mantissa} × {power}"
