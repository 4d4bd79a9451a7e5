import sys

import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.studies import list_studies, load_study
from jaxopt_lab.studies.discovery import find_study
from tests.studies.engine import make_experiments

ROOT_PATHS = tuple(sys.path)


def test_studies_are_listed_by_their_file_names_without_importing_them(tmp_path):
    folder = make_experiments(tmp_path, "doubling")
    (folder / "toys" / "broken.py").write_text("1 / 0")
    (folder / "toys" / "__init__.py").write_text("")
    (folder / "notes.py").write_text("")
    assert list(list_studies(folder)) == ["broken", "doubling", "halving"]


def test_an_unknown_study_gets_the_nearest_name(tmp_path):
    with pytest.raises(InputError, match=r"there is no study 'halfing' in .*Did you mean 'halving'\?"):
        find_study(make_experiments(tmp_path), "halfing")


def test_a_study_unlike_all_others_gets_the_list(tmp_path):
    with pytest.raises(InputError, match="There are: doubling, halving"):
        find_study(make_experiments(tmp_path, "doubling"), "xxxxx")


def test_a_folder_without_studies_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no studies"):
        list_studies(tmp_path)


def test_two_studies_of_one_name_are_refused(tmp_path):
    folder = make_experiments(tmp_path)
    (folder / "other").mkdir()
    (folder / "other" / "halving.py").write_text("")
    with pytest.raises(InputError, match="share a name"):
        list_studies(folder)


def test_a_study_is_loaded_from_its_file(tmp_path):
    study = load_study(find_study(make_experiments(tmp_path, "doubling"), "doubling"))
    assert study.name == "doubling"


@pytest.mark.parametrize("name", ["tripling.py", "tripling"])
def test_a_file_that_is_no_study_is_refused(tmp_path, name):
    (tmp_path / "tripling.py").write_text("x = 1")
    wording = "the docstring of a study tells its question" if name.endswith(".py") else "is not a Python file"
    with pytest.raises(InputError, match=wording):
        load_study(tmp_path / name)


def test_a_path_names_a_study_anywhere(tmp_path):
    path = make_experiments(tmp_path) / "toys" / "halving.py"
    assert find_study(tmp_path / "nowhere", str(path)) == path
    with pytest.raises(InputError, match=r"there is no file .*quartering\.py"):
        find_study(tmp_path, str(tmp_path / "quartering.py"))


def test_a_file_named_without_its_ending_gets_it(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("x = 1")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"Did you mean the file mine.py\?"):
        find_study("experiments", "mine")


def test_a_file_finds_what_lies_beside_it_and_in_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*ROOT_PATHS])
    source = (make_experiments(tmp_path) / "toys" / "halving.py").read_text()
    (tmp_path / "beside_it.py").write_text("FACTOR = 0.5\n")
    (tmp_path / "mine.py").write_text(source.replace("import numpy", "from beside_it import FACTOR\nimport numpy"))
    assert load_study(tmp_path / "mine.py").name == "mine"
    package = tmp_path / "claims" / "toys"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("LOW = 1\n")
    (package / "inner.py").write_text(source.replace("import numpy", "from claims.toys import LOW\nimport numpy"))
    assert load_study(package / "inner.py").name == "inner"
