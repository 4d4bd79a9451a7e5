import dataclasses
import sys
import types

import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.studies import Rows, load_study
from jaxopt_lab.studies.fields import configclass
from tests.studies import descent, halving

DOC = """Is it so?

What is believed: yes,
  and always.
What is true: no.

More is said here. What is true: not this.

Source: Gauss 1809,
  page 3.
"""


@configclass
class Config:
    steps: int = 1


@dataclasses.dataclass
class Loose:
    steps: int = 1


@dataclasses.dataclass(frozen=True)
class Open:
    steps: int


def module(**names):
    made = types.ModuleType("mine", DOC)
    parts = {"__file__": __file__, "Config": Config, "run": lambda config: [], "judge": lambda config, rows: []}
    made.__dict__.update(parts | names)
    return made


def test_a_study_is_made_from_its_module():
    study = load_study(halving)
    assert (study.name, study.question, study.reference) == ("halving", "Does x halve?", "Arithmetic")
    assert list(study.presets) == ["quick", "full"]
    assert study.facts(study.presets["quick"], [{}, {}]) == {"side by side (K)": 2}


def test_the_docstring_is_where_the_words_come_from():
    study = load_study(module())
    assert (study.question, study.belief, study.truth) == ("Is it so?", "Yes, and always.", "No.")
    assert study.reference == "Gauss 1809, page 3."


def test_what_may_be_left_out_has_a_default():
    study = load_study(descent)
    assert (study.belief, study.draw, study.caption) == ("", None, None)
    assert study.presets == {"quick": descent.Config()}
    assert study.facts(descent.Config(), Rows()) == {}


def test_functions_get_rows_whatever_they_are_called_with():
    kinds = []
    study = load_study(module(judge=lambda config, rows: kinds.append(type(rows)) or []))
    study.judge(Config(), [{"loss": 1.0}])
    study.judge(Config(), Rows())
    assert kinds == [Rows, Rows]


def test_rows_come_with_the_effective_rate():
    study = load_study(module(run=lambda config: [{"learning_rate": 0.1, "rho": 0.5}]))
    assert study.run(Config())[0]["effective_rate"] == 0.2


@pytest.mark.parametrize(
    ("names", "wording"),
    [
        ({"run": None}, "a study has a `run`, and there is none. Write `def run(config)`, which returns the rows"),
        ({"judge": None}, "a study has a `judge`, and there is none. Write `def judge(config, rows)`"),
        ({"Config": None}, "a study has a `Config`, and there is none. Write a frozen dataclass `Config`"),
        ({"__doc__": None}, "the docstring of a study tells its question, and there is none. Begin the docstring"),
        (
            {"__doc__": "Is it?"},
            'tells its truth, and there is none. Write a paragraph of the docstring that starts with "What is true:"',
        ),
        (
            {"__doc__": "Is it?\n\nWhat is true: no."},
            "tells its reference, and there is none. Write a paragraph of the docstring",
        ),
        ({"Config": Loose}, "Config must be a frozen dataclass. A run must not change its config"),
        ({"Config": Open}, "every field of Config must have a default. Or write PRESETS"),
        ({"PRESETS": {"quick": Loose()}}, "PRESETS must map names to instances of Config. Wrong: ['quick']"),
        ({"PRESETS": {}}, "PRESETS must map names to instances of Config"),
    ],
)
def test_what_is_missing_is_told_with_the_file_and_what_to_write(names, wording):
    with pytest.raises(InputError) as told:
        load_study(module(**names))
    assert wording in str(told.value)
    assert str(told.value).startswith(f"{__file__}: ")


def test_a_file_named_like_a_module_hides_none(tmp_path, monkeypatch):
    import random

    monkeypatch.setattr(sys, "path", [*sys.path])  # its folder would come first for processes that later tests start
    (tmp_path / "random.py").write_text(f'"""{DOC}"""\nclass Config:\n    steps: int = 1\n')
    with pytest.raises(InputError, match="a study has a `run`"):
        load_study(tmp_path / "random.py")
    assert sys.modules["random"] is random


def test_a_run_that_asks_for_checkpoints_gets_them_and_without_any_keeps_nothing():
    asked = []

    def run(config, checkpoints):
        asked.append(checkpoints)
        return []

    study = load_study(module(run=run))
    study.run(study.config())
    study.run(study.config(), "kept")
    assert asked[0].folder is None
    assert asked[1] == "kept"
