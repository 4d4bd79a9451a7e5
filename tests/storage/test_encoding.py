import dataclasses
import json
import math
import typing

import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.storage.encoding import config_from_json, config_hash, from_json, to_json


@dataclasses.dataclass(frozen=True)
class Inner:
    width: int = 3


@dataclasses.dataclass(frozen=True)
class Config:
    rates: tuple[float, ...] = (0.1, math.inf)
    pair: tuple[int, str] = (1, "a")
    whole: float = 2
    inner: Inner = Inner()
    inners: tuple[Inner, ...] = (Inner(1), Inner(2))
    limit: float | None = None
    name: str = "inf"


def test_a_config_survives_the_way_to_disk_and_back():
    config = Config()
    text = json.dumps(to_json(config), allow_nan=False)
    assert config_from_json(Config, json.loads(text)) == config


def test_a_config_with_an_optional_number_survives():
    config = Config(limit=math.inf)
    assert config_from_json(Config, json.loads(json.dumps(to_json(config)))).limit == math.inf


def test_annotated_fields_and_lists_come_back_as_what_they_hold():
    @dataclasses.dataclass(frozen=True)
    class Noted:
        rate: typing.Annotated[float, "per step"] = 1.0
        pair: typing.Annotated[tuple[float, ...], "ends"] = (1.0, math.inf)
        limits: list = dataclasses.field(default_factory=lambda: [1.0, math.inf])

    back = config_from_json(Noted, json.loads(json.dumps(to_json(Noted(rate=math.inf)))))
    assert (back.rate, back.pair, back.limits) == (math.inf, (1.0, math.inf), [1.0, math.inf])


def test_a_config_of_another_version_is_refused():
    stored = to_json(Config()) | {"momentum": 0.9}
    with pytest.raises(InputError, match="differ in: momentum"):
        config_from_json(Config, stored)


def test_the_hash_changes_with_every_number_and_not_with_their_type():
    assert config_hash(Config()) != config_hash(Config(inner=Inner(4)))
    assert config_hash({"a": 0.5}) == config_hash({"a": np.float64(0.5)})
    assert config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})


def test_numbers_that_are_not_finite_become_strings_and_numbers_again():
    stored = to_json({"a": [math.inf, -math.inf, 1.0], "b": float("nan")})
    assert stored == {"a": ["inf", "-inf", 1.0], "b": "nan"}
    back = from_json(stored)
    assert back["a"] == [math.inf, -math.inf, 1.0]
    assert math.isnan(back["b"])


def test_what_cannot_be_stored_is_refused():
    with pytest.raises(InputError, match="a function cannot be stored"):
        to_json({"a": test_what_cannot_be_stored_is_refused})
