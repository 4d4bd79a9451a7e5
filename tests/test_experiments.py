import pytest

from experiments import HEADLINE
from experiments.__main__ import main
from jaxopt_lab.reporting import find_results
from tests.studies.engine import make_experiments, replace_engine


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    return replace_engine(monkeypatch)


@pytest.fixture
def run(tmp_path):
    folder = make_experiments(tmp_path, "doubling", "tripling")

    def call(*words, headline=("halving", "doubling")):
        return main([*words, "--out", str(tmp_path / "out")], folder=folder, headline=headline)

    call.page, call.out, call.folder = tmp_path / "out" / "report.html", tmp_path / "out", folder
    return call


def test_the_headline_studies_run_in_their_order_into_one_report(run, capsys):
    assert run() == 0
    printed = capsys.readouterr().out
    assert printed.index("[1/2] halving") < printed.index("[2/2] doubling")
    assert "4 of 4 claims hold in 2 studies" in printed
    assert "4 of 4 claims hold" in run.page.read_text(encoding="utf-8")
    (doubling, _), _ = find_results(run.out)
    assert doubling.record["command"] == "python experiments/toys/doubling.py --preset quick"


def test_all_and_only_choose_the_studies(run):
    assert run("--only", "tripling") == 0
    assert len(find_results(run.out)[0]) == 1
    assert run("--all", "--preset", "full") == 0
    assert len(find_results(run.out)[0]) == 4


def test_a_study_that_raises_is_reported_and_the_rest_still_run(run, capsys):
    path = run.folder / "toys" / "halving.py"
    path.write_text(path.read_text().replace("crash: bool = False", "crash: bool = True"))
    (run.folder / "toys" / "broken.py").write_text("1 / 0")
    assert run("--all") == 3
    printed = capsys.readouterr()
    assert "4 of 4 claims hold in 2 studies" in printed.out
    assert "failed to run: broken, halving" in printed.out
    assert "Traceback" in printed.err
    page = run.page.read_text(encoding="utf-8")
    assert "ZeroDivisionError: division by zero" in page
    assert "RuntimeError: the bench caught fire" in page


def test_a_report_is_written_when_no_study_can_be_loaded(run):
    (run.folder / "toys" / "broken.py").write_text("1 / 0")
    assert run("--only", "broken") == 3
    assert "ZeroDivisionError" in run.page.read_text(encoding="utf-8")


def test_a_claim_that_fails_gives_exit_code_1(run):
    path = run.folder / "toys" / "halving.py"
    path.write_text(path.read_text().replace("factor: float = 0.5", "factor: float = 0.6"))
    assert run() == 1


@pytest.mark.parametrize(
    ("words", "wording"),
    [
        (["--preset", "quik"], "experiments: preset must be one of: quick, full; got 'quik'. Did you mean 'quick'?"),
        (["--only", "halfing"], "there is no study 'halfing'"),
    ],
)
def test_wrong_input_gives_exit_code_2_and_runs_nothing(run, capsys, words, wording):
    assert run(*words) == 2
    said = capsys.readouterr().err
    assert wording in said
    assert said.count("\n") == 1
    assert not run.out.exists()


def test_an_unknown_option_gives_exit_code_2(run):
    with pytest.raises(SystemExit) as stop:
        run("--presett", "quick")
    assert stop.value.code == 2


def test_a_foreign_folder_is_found_before_anything_runs(run, capsys):
    run("--only", "doubling")
    (folder,) = [path for path in run.out.iterdir() if path.is_dir()]
    (folder / "study.json").write_text("{")
    before = run.page.read_bytes()
    assert run() == 2
    assert "cannot be read as the record of a study" in capsys.readouterr().err
    assert len([path for path in run.out.iterdir() if path.is_dir()]) == 1
    assert run.page.read_bytes() == before


def test_a_foreign_page_is_not_overwritten(run):
    run.out.mkdir()
    run.page.write_text("my thesis")
    assert run() == 2
    assert run.page.read_text() == "my thesis"
    assert len(list(run.out.iterdir())) == 1


def test_stopping_keeps_what_is_finished(run, capsys):
    path = run.folder / "toys" / "doubling.py"
    path.write_text(path.read_text().replace("def run(config):", "def run(config):\n    raise KeyboardInterrupt"))
    assert run() == 130
    assert "kept" in capsys.readouterr().err
    assert "2 of 2 claims hold" in run.page.read_text(encoding="utf-8")


def test_the_list_names_all_studies_and_runs_none(run, capsys):
    assert run("--list") == 0
    assert "toys/tripling  (with --all)" in capsys.readouterr().out
    assert not run.out.exists()


def test_the_headline_has_no_study_twice():
    assert len(set(HEADLINE)) == len(HEADLINE)
