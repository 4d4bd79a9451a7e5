import concurrent.futures
import dataclasses
import json
import multiprocessing
import re
import sys
import types

import chex
import numpy as np
import pytest

from jaxopt_lab import compare, rules, search, training
from jaxopt_lab.cli import main
from jaxopt_lab.compare import report
from jaxopt_lab.compare.figures import draw_sensitivity
from jaxopt_lab.compare.plan import plan_comparison
from jaxopt_lab.compare.protocol import run_comparison
from jaxopt_lab.core import InputError
from jaxopt_lab.reporting.figures import house_style
from jaxopt_lab.reporting.page import page_body
from jaxopt_lab.search.store import ComparisonStore
from jaxopt_lab.storage.folder import kind_of
from tests.compare.lines import OPTIONS, RULES, SOME, bowl, line


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def compared(tmp_path_factory, told):
    """A comparison of four rules on the line, kept in a folder; other tests repeat its programs, which takes no compiling."""
    out, execution = tmp_path_factory.mktemp("compared"), training.Execution(log=told.append)
    return compare.compare(line(), RULES, 40, out=out, execution=execution, **OPTIONS)


@pytest.fixture
def no_figures(monkeypatch):
    """Pages without their figures, which take seconds to draw, and are drawn by one test."""
    monkeypatch.setattr(report, "draws_of", lambda comparison: [])


def without_seconds(found):
    """The rows of some rules, problem by problem, and in them what is not measured in seconds."""
    rows = [row for row in found.table() if row["rule"] in SOME]
    return [{name: value for name, value in row.items() if "second" not in name} for row in rows]


def test_the_baseline_sets_the_target_before_any_rule_is_run(compared, told, tmp_path):
    first = told.index("line: the target is " + f"{compared.targets['line'].report:.4g}")
    assert first < min(place for place, words in enumerate(told) if words.startswith("line, plain"))
    assert max(place for place, words in enumerate(told) if words.startswith("line, baseline")) < first
    alone = compare.compare(line(), {"slow": RULES["slow"]}, 40, out=tmp_path, **OPTIONS)
    assert alone.targets["line"] == compared.targets["line"]  # whatever is compared
    assert alone.folder.parent == tmp_path
    assert alone.verdict()[0] == "slow alone was run: there is nothing to compare it with."


@pytest.mark.parametrize(
    ("kind", "processes"),
    [("ThreadPoolExecutor", False), pytest.param("ProcessPoolExecutor", True, marks=pytest.mark.slow)],
)
def test_an_executors_workers_compare_to_the_same_numbers(kind, processes, compared, tmp_path):
    """Searches and final runs come from the workers; this process finds them and measures the seconds."""
    given = (2, multiprocessing.get_context("spawn")) if processes else (2,)
    lines = []
    with getattr(concurrent.futures, kind)(*given) as executor:
        options = {"execution": training.Execution(executor=executor, log=lines.append), "out": tmp_path}
        found = compare.compare("tests.compare.test_protocol:line", SOME, 40, **OPTIONS, **options)
    assert without_seconds(found) == without_seconds(compared)
    assert found.targets == compared.targets
    assert "2 workers search and run" in lines
    assert not any("final runs on" in line for line in lines)  # none was left for this process
    assert found.results["line", "plain"].seconds is not None


def test_each_rule_has_one_space_and_as_many_trials_that_were_chosen_first(compared):
    plain, same, *_ = shown = [compared.results["line", rule] for rule in RULES]
    np.testing.assert_array_equal(plain.trials.columns["learning_rate"], same.trials.columns["learning_rate"])
    assert [each.trials.space for each in shown] == [candidate.space for candidate in RULES.values()]
    assert [len(each.trials.medians) for each in shown] == [8] * 4
    assert list(json.loads(json.dumps(compared.to_json()))["config"]["rules"]) == list(RULES)


def test_winners_run_on_ten_fresh_seeds_with_paired_starts_and_batches(compared):
    plain, same, slow, _ = (compared.results["line", rule] for rule in RULES)
    chex.assert_shape(plain.final_runs.curves["test_loss"], (10, 15))
    assert plain.winner == same.winner
    for probe, values in plain.final_runs.curves.items():  # the same rule by another name: the same starts and batches
        np.testing.assert_array_equal(values, same.final_runs.curves[probe])
    np.testing.assert_array_equal(plain.final_runs.curves["loss"][:, 0], slow.final_runs.curves["loss"][:, 0])
    searched = plain.trials.curves["loss"][0, 0, 0]
    assert not np.isclose(plain.final_runs.curves["loss"][:, 0], searched).any()  # none of the search's seeds


def test_rules_that_are_the_same_are_not_called_different(compared):
    pair, *_ = [each for each in compared.pairs_on("line") if {each.first, each.second} == {"plain", "same"}]
    assert pair.outcome == "no difference shown"
    assert "no difference shown" in "".join(compared.verdict())
    assert compared.verdict()[0] == "No rule is shown better than every other on line."


def test_a_rule_that_contains_another_and_loses_is_under_tuned(compared):
    pair, *_ = [each for each in compared.pairs_on("line") if {each.first, each.second} == {"plain", "slow"}]
    assert (pair.first, pair.outcome) == ("plain", "under-tuned")
    assert pair.corrected < 0.01
    assert "  under-tuned: slow, it contains plain at a low rate." in compared.verdict()


def test_to_be_ahead_of_an_under_tuned_rule_is_not_to_be_better(compared):
    described = compared.config["rules"] | {"other": compared.config["rules"]["slow"] | {"contains": {}}}
    results = compared.results | {("line", "other"): compared.results["line", "slow"]}

    def head(*names):
        kept = {("line", name): results["line", name] for name in names}
        chosen = {name: described[name] for name in names}
        return dataclasses.replace(compared, config=compared.config | {"rules": chosen}, results=kept).verdict()[0]

    assert head("plain", "slow") == "No rule is shown better than every other on line."
    better = "plain is shown better than every other rule on line"
    assert head("plain", "other") == f"{better}."
    assert head("plain", "slow", "other") == f"{better}, under-tuned ones aside."


def test_a_winner_near_an_edge_is_inconclusive(compared):
    assert compared.results["line", "wild"].edges == {"learning_rate": "low"}
    for pair in compared.pairs_on("line"):
        assert (pair.outcome == "inconclusive, widen") == ("wild" in (pair.first, pair.second))
    assert "  inconclusive, widen: wild is best with learning_rate at the low end." in compared.verdict()


def test_the_table_has_misses_steps_seconds_and_infeasible_trials(compared):
    rows = {row["rule"]: row for row in compared.table() if row["problem"] == "line"}
    assert rows["slow"]["reached"] == 0
    assert np.isinf(rows["slow"]["gradients_to_target"])
    assert any(
        "slow" in words and "target 0/10, the median seed never;" in words for words in str(compared).splitlines()
    )
    assert 0 < rows["plain"]["infeasible"] < 1
    plain = rows["plain"]
    assert plain["seconds_to_target"] == plain["steps_to_target"] * plain["seconds"]["step"] > 0
    assert plain["compile_seconds"] > plain["seconds"]["step"]
    assert plain["good_decades"] > rows["slow"]["good_decades"] == 0
    assert any(f"infeasible {plain['infeasible']:.0%}" in words for words in str(compared).splitlines())


def test_a_schedule_free_rule_is_judged_at_its_average():
    candidate = compare.CANDIDATES["schedule_free_sgd"]
    fixed = dataclasses.replace(candidate, space=search.Space(learning_rate=search.log_uniform(0.3, 0.31), b1=0.9))
    protocol = compare.Protocol({"free": fixed}, num_records=30)
    found = compare.compare(bowl(), {"free": fixed}, 30, num_trials=1, num_final_seeds=2, protocol=protocol)
    rate, y, z, x = found.results["quadratic", "free"].winner["learning_rate"], *(np.ones(2) for _ in range(3))
    expected = []
    for step in range(30):
        expected.append(0.5 * (np.array([1.0, 0.1]) * x**2).sum())
        z = z - rate * np.array([1.0, 0.1]) * y
        x = x + (z - x) / (step + 1)
        y = 0.9 * x + 0.1 * z
    np.testing.assert_allclose(
        found.results["quadratic", "free"].final_runs.curves["loss"][0, :30], expected, rtol=1e-4
    )  # float32, 30 steps


def test_what_is_stored_gives_the_same_comparison_and_a_page(compared):
    loaded = compare.load_comparison(compared.folder)
    assert loaded.to_json() == compared.to_json()
    page = report.write_comparison_page(compared.folder).read_text()
    assert page.index("No rule is shown better") < page.index("<table")
    assert page.count("<svg") == 4  # profiles; curves, ladder and sensitivity
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", page)  # nothing comes from elsewhere
    for words in ("infeasible", "compiling, s", "Every pair", "one a rule for all problems", "good decades"):
        assert words in page
    assert json.loads((compared.folder / "verdicts.json").read_text())[0]["outcome"] == compared.pairs[0].outcome
    assert len((compared.folder / "configs.jsonl").read_text().splitlines()) == 4
    assert kind_of(compared.folder) == "comparison"


def test_a_comparison_shows_itself_kept_or_not(compared, tmp_path, monkeypatch, no_figures):
    compared.save(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page_body(page) == compare.load_comparison(compared.folder)._repr_html_()
    dataclasses.replace(compared, folder=None).save(tmp_path / "free.html")
    assert "Every pair" in (tmp_path / "free.html").read_text()
    assert repr(compared) == "<Comparison of plain, same, slow, wild on line>"
    assert len(str(compared).splitlines()) <= 40
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=list))
    first, row = compared.to_dataframe()[0], compared.table()[0]
    assert (first["rule"], first["median"], first["low"]) == (row["rule"], row["median"], row["interval"][0])
    assert first["learning_rate"] == row["hyperparameters"]["learning_rate"]


def test_a_baseline_without_a_feasible_setting_sets_no_target(tmp_path, no_figures):
    wild = {"wild": (rules.sgd, search.Space(learning_rate=search.log_uniform(100.0, 1000.0)))}
    protocol = compare.Protocol(wild)
    made = compare.compare(bowl(), wild, 40, num_trials=2, num_final_seeds=2, protocol=protocol, out=tmp_path)
    found = compare.load_comparison(made.folder)
    assert found.complete
    assert "no rule has a feasible setting" in found.verdict()[1]
    assert "not a number" not in report.write_comparison_page(made.folder).read_text()


def test_infeasible_trials_are_red_crosses(compared):
    with house_style() as maker:
        figure, caption = draw_sensitivity(compared, "line", maker)
    (crosses,) = [drawn for drawn in figure.axes[0].lines if drawn.get_marker() == "x"]
    assert len(crosses.get_xdata()) == np.isinf(compared.results["line", "plain"].trials.medians).sum() > 0
    assert "decades" in caption


def test_broken_off_it_leaves_a_usable_folder_and_goes_on_where_it_was(compared, tmp_path, monkeypatch, no_figures):
    problems = [line(), dataclasses.replace(line(), name="line 2")]
    run, finish = training.run, ComparisonStore.finish

    def compare_until(where):
        """How many runs it took; it is broken off in the sixth on one problem, a search of the first rule."""
        names = []

        def breaking(problem, *arguments, **options):
            names.append(problem.name)
            if names.count(where) == 6:
                raise KeyboardInterrupt
            return run(problem, *arguments, **options)

        monkeypatch.setattr(training, "run", breaking)
        compare.compare(problems, SOME, 40, out=tmp_path, **OPTIONS)
        return len(names)

    with pytest.raises(KeyboardInterrupt):  # stopped
        compare_until("line")
    monkeypatch.setattr(ComparisonStore, "finish", lambda self, outcome, changes: None)
    with pytest.raises(KeyboardInterrupt):  # killed: nothing is tidied up
        compare_until("line 2")
    monkeypatch.setattr(ComparisonStore, "finish", finish)
    (folder,) = tmp_path.iterdir()
    kept = compare.load_comparison(folder)
    assert (kept.complete, set(kept.targets)) == (False, {"line", "line 2"})
    assert kept.verdict()[0].startswith("Not finished")
    assert "not finished" in report.write_comparison_page(folder).read_text()
    compare_until("no problem")
    assert compare_until("no problem") == 0  # all is there
    found = compare.load_comparison(folder)
    assert found.complete
    rows = without_seconds(found)
    assert rows[:2] == without_seconds(compared)  # as though nothing had happened, and whatever else is compared
    assert [row | {"problem": "line"} for row in rows[2:]] == rows[:2]  # the same space and points for all problems


again = rules.sgd
OWN = "tests.compare.test_protocol:again"
WORDS = ["compare", "tests.compare.test_protocol:line", "--rules", f"sgd,{OWN}", "--budget", "40", "--trials", "8",
         "--batch-size", "10", "--baseline", "sgd", "--space", f"{OWN}.learning_rate=log:0.001:100"]  # fmt: skip


def test_the_verb_prints_verdict_table_and_place_and_is_continued(compared, tmp_path, capsys, no_figures):
    assert main([*WORDS, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    (folder,) = tmp_path.iterdir()
    lines = printed.splitlines()
    assert lines[0] == "No rule is shown better than every other on line."
    assert sum(words.startswith("line  ") for words in lines) == 2
    assert lines[-1] == f"Report: {folder / 'report.html'}"
    record = json.loads((folder / "study.json").read_text())
    assert (record["argv"], record["status"]) == (WORDS[1:], "done")
    (folder / "report.html").unlink()
    assert main(["resume", str(folder)]) == 2
    problem = "tests.compare.test_protocol:line"
    assert f"names code that would be run: {problem}, {OWN}. If you trust it" in capsys.readouterr().err
    assert main(["resume", str(folder), "--problem", problem, "--rule", OWN]) == 0
    assert capsys.readouterr().out == printed
    assert main(["report", str(folder)]) == 0
    assert "jaxopt-lab compare tests.compare.test_protocol:line" in (folder / "report.html").read_text()


def test_folders_of_others_are_left_alone(compared, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    plan = plan_comparison(
        bowl(), "sgd", 20, num_trials=2, num_seeds=1, num_final_seeds=2, seed=0, batch_size=None,
        protocol=compare.Protocol(), execution=training.Execution(),
    )  # fmt: skip
    with pytest.raises(InputError, match="is not empty and holds no comparison"):
        run_comparison(plan, tmp_path)
    with pytest.raises(InputError, match="holds another comparison"):
        run_comparison(plan, compared.folder)
    with pytest.raises(InputError, match=r"holds no study\.json"):
        compare.load_comparison(tmp_path)
    with pytest.raises(InputError, match="two problems share a name: quadratic, quadratic"):
        compare.compare([bowl(), bowl()], "sgd", 20)
