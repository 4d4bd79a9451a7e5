"""What a page's slider shows: the momentum moves a closed form over the dots that were measured.

The closed forms themselves are in `templates/closed_forms.js`, and what is drawn of each in `CURVES` of
`templates/slider.js`. A study has a slider when its module has `slider(config, rows)`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

CLOSED_FORMS = ("heavy_ball_steps", "factor_per_step", "transfer_gain", "stationary_variance", "mean_square_edge")
_DIGITS = 5
_MOST_DOTS = 5000  # some 80 kB of a page


def axis(label: str, low: float, high: float, *, log: bool = False) -> dict[str, Any]:
    """An axis of a slider's chart, from `low` to `high`."""
    return {"label": label, "low": float(low), "high": float(high), "log": log}


def dots(name: str, x: Any, y: Any, *, color: int = 0, rho: float | None = None) -> dict[str, Any]:
    """Measured dots [n]; those that are not finite are left out.

    Args:
      name: what was measured.
      x: where, [n].
      y: what, [n].
      color: number of the colour, that of their curve.
      rho: the momentum at which they were measured: the chart pales them elsewhere. None shows them always.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    kept = np.isfinite(x) & np.isfinite(y)
    places = [[float(f"{value:.{_DIGITS}g}") for value in values[kept]] for values in (x, y)]
    return {"name": name, "x": places[0], "y": places[1], "color": color, "rho": rho}


def slider(
    closed_form: str, *, x: Mapping[str, Any], y: Mapping[str, Any], dots: Sequence[Mapping[str, Any]], **constants: Any
) -> dict[str, Any]:
    """What a study's `slider` returns.

    Args:
      closed_form: one of `CLOSED_FORMS`.
      x: of `axis`.
      y: of `axis`.
      dots: of `dots`, each; those outside of the axes are left out, and of very many only some are kept.
      **constants: what the closed form needs besides x and rho.

    Raises:
      ValueError: it is nothing that the page can draw.
    """
    places = [_inside(each, x, y) for each in dots]
    thin = 1 + sum(map(len, places)) // _MOST_DOTS
    inside = [
        dict(each) | {name: [each[name][k] for k in kept[::thin]] for name in ("x", "y")}
        for each, kept in zip(dots, places, strict=True)
    ]
    made = {"closed_form": closed_form, "x": dict(x), "y": dict(y), "dots": inside, "constants": constants}
    return require_slider(made)


def require_slider(found: Any) -> dict[str, Any]:
    """Returns a slider as it is; raises ValueError when the page could not draw it, whoever wrote it."""
    try:
        sound = found["closed_form"] in CLOSED_FORMS and all(map(_is_axis, (found["x"], found["y"])))
        sound = sound and all(map(_is_dots, found["dots"])) and all(map(_is_constant, found["constants"].values()))
        sound = sound and sum(len(each["x"]) for each in found["dots"]) <= _MOST_DOTS + len(found["dots"])
    except (TypeError, KeyError, AttributeError):
        sound = False
    if not sound:
        raise ValueError("its slider cannot be drawn")
    return found


def _inside(each: Mapping[str, Any], x: Mapping[str, Any], y: Mapping[str, Any]) -> list[int]:
    pairs = enumerate(zip(each["x"], each["y"], strict=True))
    return [k for k, (a, b) in pairs if x["low"] <= a <= x["high"] and y["low"] <= b <= y["high"]]


def _is_axis(each: Any) -> bool:
    sound = (
        isinstance(each["label"], str) and isinstance(each["log"], bool) and _are_numbers([each["low"], each["high"]])
    )
    return sound and (0 if each["log"] else -np.inf) < each["low"] < each["high"]


def _is_dots(each: Any) -> bool:
    known = each["rho"] is None or (_are_numbers([each["rho"]]) and 0 <= each["rho"] < 1)
    return (
        known and isinstance(each["name"], str) and each["color"] in range(4)
        and _are_numbers(each["x"]) and _are_numbers(each["y"]) and len(each["x"]) == len(each["y"])
    )  # fmt: skip


def _is_constant(value: Any) -> bool:
    return _are_numbers(value if isinstance(value, list) else [value])


def _are_numbers(values: Any) -> bool:
    kinds = {type(value) for value in values}
    return isinstance(values, list) and kinds <= {int, float} and bool(np.all(np.isfinite(values)))
