import dataclasses
from typing import Annotated

import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.studies.fields import (
    AboveZero,
    Between,
    Count,
    Increasing,
    MultipleOf,
    Must,
    NotEmpty,
    OneOf,
    OpenUnit,
    Positive,
    Precision,
    Seed,
    Whole,
    configclass,
)


@configclass
class Config:
    dim: Annotated[int, Whole(2, why="One is no direction.")] = 10
    steps: Count = 100
    seed: Seed = 0
    rhos: Annotated[tuple[float, ...], NotEmpty("momentum"), Between("[0, 1)")] = (0.0, 0.9)
    shares: tuple[OpenUnit, ...] = (0.5,)
    rate: Positive = 0.1
    chains: Annotated[int, MultipleOf(40)] = 80
    times: Annotated[tuple[int, ...], Increasing("be two or more, increasing, from 0", first=0)] = (0, 10)
    starts: Annotated[tuple[float, ...], Increasing("decrease", falling=True)] = (1e-2, 1e-3)
    pairs: tuple[tuple[Annotated[float, AboveZero(name="a rate")], Count], ...] = ((0.1, 4),)
    methods: tuple[Annotated[str, OneOf(("descent", "momentum"), name="each of methods")], ...] = ("descent",)
    long: Annotated[int, Must("be a power of two", lambda long: long & (long - 1) == 0, why="It is halved.")] = 8
    dtype: Precision = "float64"

    def __post_init__(self):
        if self.steps > 100 * self.dim:
            raise InputError("steps must be at most 100 dim")


@pytest.mark.parametrize(
    ("options", "wording"),
    [
        ({"dim": 1}, "test_fields: dim must be a whole number of at least 2, got 1. One is no direction."),
        ({"steps": 2.5}, "test_fields: steps must be a whole number of at least 1, got 2.5."),
        ({"seed": -1}, "test_fields: seed must be a whole number of at least 0, got -1."),
        ({"rhos": ()}, "test_fields: rhos must hold at least one momentum, got none."),
        ({"rhos": (0.5, 1.5)}, "test_fields: rhos must be in [0, 1), got 1.5."),
        ({"shares": (0.5, 1.0)}, "test_fields: shares must be in (0, 1), got 1.0."),
        ({"rate": float("inf")}, "test_fields: rate must be positive and finite, got inf."),
        ({"chains": 20}, "test_fields: chains must be a multiple of 40, got 20."),
        ({"chains": 90}, "test_fields: chains must be a multiple of 40, got 90."),
        ({"times": (1, 2)}, "test_fields: times must be two or more, increasing, from 0, got (1, 2)."),
        ({"times": (0,)}, "test_fields: times must be two or more, increasing, from 0, got (0,)."),
        ({"times": ()}, "test_fields: times must be two or more, increasing, from 0, got ()."),
        ({"times": (0, 2, 2)}, "test_fields: times must be two or more, increasing, from 0, got (0, 2, 2)."),
        ({"starts": (1.0, 2.0)}, "test_fields: starts must decrease, got (1.0, 2.0)."),
        ({"pairs": ((0.1, 4), (-1.0, 4))}, "test_fields: a rate must be positive and finite, got -1.0."),
        ({"pairs": ((0.1, 0),)}, "test_fields: pairs must be a whole number of at least 1, got 0."),
        ({"methods": ("descend",)}, "each of methods must be one of: descent, momentum; got 'descend'. Did you mean"),
        ({"long": 12}, "test_fields: long must be a power of two, got 12. It is halved."),
        ({"dtype": "float16"}, "test_fields: dtype must be one of: float32, float64; got 'float16'."),
        ({"steps": 2000}, "steps must be at most 100 dim"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_field_is_named_in_one_sentence(options, wording):
    with pytest.raises(InputError) as told:
        Config(**options)
    assert wording in str(told.value)


def test_ranges_come_before_relations():
    with pytest.raises(InputError, match="dim must be a whole number"):
        Config(dim=0, steps=2000)


def test_a_config_is_a_frozen_dataclass_that_keeps_its_defaults():
    config = Config(dim=20)
    assert dataclasses.replace(config, dim=10) == Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.dim = 3


def test_a_field_without_checks_takes_anything():
    @configclass
    class Loose:
        note: str = "as it is"
        scale: float | None = None

    assert Loose(scale=-1.0).scale == -1.0
