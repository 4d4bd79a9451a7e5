"""Configs and rows as JSON that every reader accepts: non-finite numbers become the strings inf, -inf, nan.

The twelve hexadecimal digits that name a results folder are the start of the SHA-256 of this canonical JSON, so that
two runs share a folder only when every number that could change the result is the same.
"""

import dataclasses
import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxopt_lab.core import fail

NON_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def to_json(value: Any) -> Any:
    """Makes plain JSON data of a config, a row, or anything made of numbers, strings, sequences and mappings.

    Args:
      value: a dataclass instance, mapping, sequence, array, scalar or string.

    Returns:
      Dictionaries, lists, strings, numbers, booleans and None only.

    Raises:
      InputError: the value holds something of another type.

    Example:
      >>> to_json({"kappas": (10.0, float("inf")), "steps": np.int64(3)})
      {'kappas': [10.0, 'inf'], 'steps': 3}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _name_of(value)
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__"):
        return to_json(np.asarray(value).tolist())
    raise fail("to_json", f"a {type(value).__name__} cannot be stored", "Use numbers, strings, booleans and tuples.")


def from_json(value: Any) -> Any:
    """Undoes `to_json` for numbers: the strings inf, -inf and nan become floats again."""
    if isinstance(value, dict):
        return {key: from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_json(item) for item in value]
    return NON_FINITE.get(value, value) if isinstance(value, str) else value


def config_hash(config: Any) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of a config's canonical JSON."""
    canonical = json.dumps(to_json(config), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def config_from_json(config_type: type, stored: Mapping[str, Any]) -> Any:
    """Rebuilds a config dataclass from what `to_json` made of it.

    Args:
      config_type: the dataclass.
      stored: its fields as JSON data.

    Returns:
      An instance equal to the one stored.

    Raises:
      InputError: the fields differ from those of `config_type`, so another version of the study wrote them.
    """
    names = {field.name for field in dataclasses.fields(config_type)}
    if names != set(stored):
        differing = ", ".join(sorted(names ^ set(stored)))
        raise fail(
            config_type.__name__,
            f"the stored config and this version of the study differ in: {differing}",
            "Run the study anew instead of continuing.",
        )
    hints = typing.get_type_hints(config_type)
    return config_type(**{name: _typed(hints[name], item) for name, item in stored.items()})


def _typed(hint: Any, item: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return None if item is None else _typed(next(kind for kind in arguments if kind is not type(None)), item)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return config_from_json(hint, item)
    if isinstance(item, list):
        if origin is not tuple or not arguments:
            return from_json(item)
        kinds = arguments[:1] * len(item) if arguments[-1] is Ellipsis else arguments
        return tuple(_typed(kind, entry) for kind, entry in zip(kinds, item, strict=True))
    if hint is float and not isinstance(item, bool):
        return float(from_json(item))
    return item


def _name_of(value: float) -> str:
    return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
