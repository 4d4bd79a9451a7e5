import pathlib
import types

import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.studies.suite import _Suite


def test_a_study_without_the_preset_is_left_out_and_said_so():
    both, one = (types.SimpleNamespace(name=name, presets=presets) for name, presets in (("both", "ab"), ("one", "b")))
    studies, told = {pathlib.Path("both.py"): both, pathlib.Path("one.py"): one}, []
    assert _Suite(pathlib.Path("out"), "a", "", told.append)._chosen(studies) == {pathlib.Path("both.py"): both}
    assert told == ["one has no preset a and is left out."]
    assert _Suite(pathlib.Path("out"), "b", "", told.append)._chosen(studies) == studies
    assert len(told) == 1
    with pytest.raises(InputError, match="experiments: preset must be one of: a, b; got 'c'"):
        _Suite(pathlib.Path("out"), "c", "", told.append)._chosen(studies)
