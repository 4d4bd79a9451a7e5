import dataclasses

import numpy as np
import pytest

from jaxopt_lab import compare, rules, search, training
from jaxopt_lab.cli import main
from jaxopt_lab.compare.plan import _each, plan_comparison
from jaxopt_lab.core import InputError, from_loss
from tests.compare.lines import RULES, bowl, loss


def test_a_step_that_costs_two_gradients_leaves_half_of_the_steps():
    dear = {"dear": (rules.nesterov_lookahead, search.Space(learning_rate=search.log_uniform(0.01, 2.0), rho=0.5))}
    plan = plan_comparison(
        bowl(), dear, 40, num_trials=2, num_seeds=1, num_final_seeds=2, batch_size=None, seed=0,
        protocol=compare.Protocol(dear), execution=training.Execution(),
    )  # fmt: skip
    assert plan.runs["quadratic"]["dear"].steps == 20
    assert "quadratic: 40 gradients a run buy steps: 20 of dear, 2 each" in str(plan)
    many = dataclasses.replace(plan, config=plan.config | {"rules": dict.fromkeys("abc")})
    assert (
        str(many).splitlines()[-1] == "where runs miss, fewer than 10 fresh seeds may be too few to show a difference"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rules", "adm"], "Did you mean 'adam'?"),
        (["--rules", "sgd,"], "--rules must be names with commas between them, got 'sgd,'"),
        (["--rules", "sgd,sgd"], "--rules names a rule twice"),
        (["--budget", "-1"], "budget must be positive and finite, got -1"),
        (["--budget", "1"], "a budget of 1 gradients buys sgd fewer than 2 steps on quadratic. A step costs 1"),
        (["--final-seeds", "1"], "num_final_seeds must be a whole number of at least 2, got 1"),
        (["--trials", "0"], "trials must be a whole number of at least 1, got 0"),
        (["--batch-size", "8"], "batch_size 8 needs as many examples, quadratic has 0 to train on"),
        (["--batch-size", "0"], "batch_size must be a whole number of at least 1, got 0"),
        (["--sampler", "grid"], "a grid gives rules with fewer hyperparameters more values"),
        (["--space", "adam.learning_rate=log:0.1:1"], "the rule in --space must be one of: sgd; got 'adam'"),
        (["--space", "learning_rate=log:0.1:1"], "the rule in --space must be one of: sgd; got ''"),
        (["--space", "sgd.rate=log:0.1:1"], "sgd: does not take the hyperparameters rate"),
        (["--rules", "tests.compare.lines:bowl"], "needs a space. Example: --space"),
        (["--baseline", "adm"], "Did you mean 'adam'?"),
        (["--measure", "accuracy"], "measure must be one of: auto, loss; got 'accuracy'"),
        (["--set", "other.width=3"], "the problem in --set must be one of"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_run(words, message, tmp_path, capsys):
    given = ["compare", "tests.compare.lines:bowl", "--rules", "sgd", "--budget", "20", "--baseline", "sgd"]
    assert main([*given, *words, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_budget_is_one_for_all_or_one_for_each_problem():
    problems = {"bowl": None, "line": None}
    assert _each("budget", 40, problems) == {"bowl": 40, "line": 40}
    assert _each("budget", {"line": 20, "bowl": 10, "other": 5}, problems) == {"bowl": 10, "line": 20}
    with pytest.raises(InputError, match="compare: a problem in budget must be one of: bowl, lime; got 'line'"):
        _each("budget", {"bowl": 10, "lime": 20}, problems)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt is a file"):
        compare.compare(bowl(), "sgd", 20, out=tmp_path / "notes.txt")


def test_a_batch_must_fit_into_what_is_left_to_train_on():
    problem = from_loss(loss, np.zeros(3), (np.zeros((60, 3)), np.zeros(60)), name="line")  # a fifth is held out
    with pytest.raises(InputError, match="batch_size 49 needs as many examples, line has 48 to train on"):
        compare.compare(problem, "sgd", 20, batch_size=49)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"execution": training.Execution(workers=2)},
            r"compare: workers need a folder that they share. Give out=\.\.\.",
        ),
        ({"execution": training.Execution(loop="chunks")}, "loop must be one of: auto, vmap, map, step; got 'chunks'"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"protocol": compare.Protocol({"a": RULES["plain"], "b": RULES["slow"]})}, "there must be one baseline"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_run(change, message):
    with pytest.raises(InputError, match=message):
        compare.compare(bowl(), {"plain": RULES["plain"]}, 20, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampler": "grid"}, "a grid gives rules with fewer hyperparameters more values"),
        ({"num_records": 1}, "num_records must be a whole number of at least 2, got 1"),
        ({"target_share": 0.0}, r"target_share must be in \(0, 1\], got 0"),
        ({"level": 1.0}, r"level must be in \(0, 1\), got 1"),
        ({"measure": "accuracy"}, "measure must be one of: auto, loss"),
    ],
)
def test_a_protocol_that_cannot_be_followed_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        compare.Protocol(**change)


def test_searches_and_final_runs_are_carried_out_as_was_asked(monkeypatch):
    run, loops = training.run, []

    def noting(*arguments, **options):
        loops.append((options["execution"].loop, options["execution"].width))
        return run(*arguments, **options)

    monkeypatch.setattr(training, "run", noting)
    plain, execution = {"plain": RULES["plain"]}, training.Execution(loop="map", width=2)
    found = compare.compare(
        bowl(), plain, 20, num_trials=2, num_final_seeds=2, protocol=compare.Protocol(plain), execution=execution
    )
    assert (found.config["loop"], found.config["width"]) == ("map", 2)
    assert set(loops) == {("map", 2), ("map", 1)}  # what a step takes is timed alone
