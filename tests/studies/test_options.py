import dataclasses
import pathlib

import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.studies import load_study
from jaxopt_lab.studies.options import parse
from tests.studies import halving


@dataclasses.dataclass(frozen=True)
class Config:
    num_steps: int = 3
    """Length of a run:
    100 % of it."""
    rates: tuple[float, ...] = (0.1, 0.2)
    sizes: tuple[tuple[float, int], ...] = ((1.0, 2),)
    range: tuple[float, float] = (0.0, 1.0)
    names: tuple[str, ...] = ()
    crash: bool = False
    place: pathlib.Path = pathlib.Path()
    table: dict = dataclasses.field(default_factory=dict)


@pytest.fixture(scope="module")
def study():
    return dataclasses.replace(load_study(halving), config=Config, presets={"quick": Config()})


def read(study, *words):
    return parse(study, words, "halving")[0]


def test_every_kind_of_field_is_read(study):
    words = "--num-steps 5 --rates 1e-3 inf --sizes 1 2 0.5 7 --range -1 2 --names a b --crash --place here/there"
    assert read(study, *words.split()) == Config(
        5, (1e-3, float("inf")), ((1.0, 2), (0.5, 7)), (-1.0, 2.0), ("a", "b"), True, pathlib.Path("here/there"), {}
    )


def test_fields_that_are_not_given_keep_the_values_of_the_preset(study):
    assert read(study) == Config()
    assert read(study, "--no-crash", "--rates") == Config(rates=())


def test_underscores_are_as_good_as_hyphens(study):
    assert read(study, "--num_steps", "7") == read(study, "--num-steps=7") == Config(7)


@pytest.mark.parametrize(
    ("words", "wording"),
    [
        (["--num-steps", "2.5"], "halving: --num-steps must be a whole number, got '2.5'. See --help."),
        (["--sizes", "1", "2.5"], "halving: --sizes must be a whole number, got '2.5'. See --help."),
        (["--sizes", "1", "2", "3"], "halving: --sizes takes its values in groups of 2, got 3."),
        (["--range", "1"], "halving: --range takes its values as 2, got 1."),
        (["--num-steps"], "halving: --num-steps/--num_steps: expected one argument. See --help."),
        (["--crash=yes"], "halving: --crash/--no-crash: ignored explicit argument 'yes'. See --help."),
        (["--table", "x"], "halving: unknown option --table. There are: --preset, --out, --num-steps"),
    ],
)
def test_a_wrong_word_is_one_sentence(study, words, wording):
    with pytest.raises(InputError) as error:
        read(study, *words)
    assert str(error.value).startswith(wording)


def test_help_tells_meaning_default_and_kind(study, capsys):
    with pytest.raises(SystemExit):
        read(study, "--help")
    told = " ".join(capsys.readouterr().out.split())
    assert "Length of a run: 100 % of it. (default: 3)" in told
    assert "--sizes [FLOAT INT ...]" in told
    assert "--names [TEXT ...]" in told
