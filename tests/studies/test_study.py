import dataclasses

import pytest

from jaxopt_lab.core import InputError
from tests.studies.halving import STUDY


@dataclasses.dataclass
class Loose:
    steps: int = 1


def test_a_config_that_a_run_could_change_is_refused():
    with pytest.raises(InputError, match="config must be a frozen dataclass"):
        dataclasses.replace(STUDY, config=Loose, presets={"quick": Loose()})


def test_a_preset_of_another_type_is_refused():
    with pytest.raises(InputError, match=r"presets must map names to a Config. Wrong: \['quick'\]"):
        dataclasses.replace(STUDY, presets={"quick": Loose()})


def test_a_study_without_presets_is_refused():
    with pytest.raises(InputError, match="presets must map names to a Config"):
        dataclasses.replace(STUDY, presets={})
