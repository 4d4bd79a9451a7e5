import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.studies import find_study, list_studies, load_study
from tests.studies.engine import make_experiments


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


@pytest.mark.parametrize(
    ("text", "wording"),
    [("x = 1", "has no STUDY"), ("from tests.studies.halving import STUDY", "is named 'halving'")],
    ids=["no study", "another name"],
)
def test_a_file_that_is_no_study_is_refused(tmp_path, text, wording):
    path = tmp_path / "tripling.py"
    path.write_text(text)
    with pytest.raises(InputError, match=wording):
        load_study(path)
