import pathlib
import signal
import subprocess
import sys

import chex
import numpy as np
import pytest

from jaxopt_lab import objectives, rules, search
from jaxopt_lab.core import InputError, Status
from jaxopt_lab.search import history, samplers
from jaxopt_lab.search.history import evaluator
from jaxopt_lab.search.samplers import random_points

ROOT = pathlib.Path(__file__).parents[2]
LINE = search.Space(x=search.uniform(0.0, 1.0))
PLANE = search.Space(x=search.uniform(0.0, 1.0), y=search.uniform(0.0, 1.0))


def test_a_grid_has_a_point_in_every_cell():
    points = search.sample("grid", PLANE, 20)
    cells = {tuple(cell) for cell in (points * 4).astype(int)}
    assert len(points) == 16
    assert cells == {(i, j) for i in range(4) for j in range(4)}


def test_a_grid_takes_all_choices_and_no_whole_number_twice():
    space = search.Space(kind=search.choices(1, 2, 3), wait=search.integers(1, 2), rate=search.log_uniform(0.1, 1.0))
    columns = space.columns(search.sample("grid", space, 60))
    assert len(set(zip(*columns.values(), strict=True))) == len(columns["kind"]) == 3 * 2 * 10
    with pytest.raises(InputError, match="2 trials cannot cover 3 combinations of choices"):
        search.sample("grid", space, 2)


@pytest.mark.parametrize("sampler", samplers.SAMPLERS)
def test_points_are_reproducible_and_in_the_cube(sampler):
    first, again, other = (search.sample(sampler, PLANE, 64, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    chex.assert_shape(first, (64, 2))
    assert first.min() >= 0
    assert first.max() < 1
    assert (sampler == "grid") == np.array_equal(first, other)


def test_sobol_points_are_balanced_in_every_dyadic_cell():
    points = search.sample("sobol", PLANE, 64, 1)
    for counts in ((8, 8), (64, 1), (1, 64), (16, 4)):
        cells = (points * counts).astype(int)
        assert len(np.unique(cells, axis=0)) == 64


def test_random_points_test_more_values_of_each_than_a_grid():
    assert len(np.unique(random_points(PLANE, 64)[:, 0])) == 64
    assert len(np.unique(search.sample("grid", PLANE, 64)[:, 0])) == 8


def test_coarse_to_fine_beats_a_grid_of_as_many_trials_fourfold():
    # A28: a noise-free unimodal response; three stages of 8 shrink the box twice to 2/9, a grid of 24 divides once.
    coarse, plain = [], []
    for optimum in np.random.default_rng(0).uniform(0.15, 0.85, 200):

        def gap(columns, steps, optimum=optimum):
            return np.abs(columns["x"] - optimum)

        found = search.coarse_to_fine(gap, LINE, num_trials=8, steps=(1, 1, 1), max_widenings=0)
        assert found.num_trials == 24
        coarse.append(found.loss)
        plain.append(gap({"x": LINE.columns(search.sample("grid", LINE, 24))["x"]}, 1).min())
    assert np.median(plain) / np.median(coarse) >= 4


def test_coarse_to_fine_widens_until_both_ends_blow_up():
    space = search.Space(rate=search.log_uniform(1e-5, 1e-4))

    def loss(columns, steps):
        rate = columns["rate"]
        return np.where(rate > 2.0, np.inf, np.abs(np.log(rate)))

    found = search.coarse_to_fine(loss, space, num_trials=8, steps=(10, 10))
    assert abs(np.log(found.values["rate"])) < 1
    assert any("widened, the high end of rate does not blow up" in line for line in str(found).splitlines())
    assert not found.warnings


@pytest.mark.parametrize(
    ("space", "ends"),
    [
        (search.Space(x=search.one_minus_log_uniform(0.5, 0.99)), (0.0, 1.0 - 2.0**-24)),
        (search.Space(x=search.log_uniform(1e-30, 1e30)), (1.2e-38, 3.4e38)),
        (search.Space(x=search.uniform(-1e30, 1e30)), (-3.5e38, 3.5e38)),
        (search.Space(x=search.effective_rate(1e-30, 1e30, "rho"), rho=0.5), (0.5e-38, 3.4e38)),
    ],
)
def test_widening_ends_where_numbers_do(space, ends):
    """Both ends are best in turn and never blow up, so that the search would widen for ever."""
    for sign in (1, -1):
        found = search.coarse_to_fine(
            lambda columns, steps, sign=sign: sign * columns["x"], space, num_trials=8, steps=(1, 1), max_widenings=12
        )
        assert ends[0] <= found.values["x"] <= ends[1]
        assert np.isfinite(found.values["x"])
        assert np.float32(found.values["x"]) < 1 or "one_minus" not in str(space)


def test_an_end_is_open_where_a_good_trial_lies_in_its_outer_tenth():
    space, places = search.Space(x=search.uniform(0.0, 1.0)), np.array([0.0, 0.12, 0.5, 0.88, 1.0])

    def ends(good, at):
        moved = places.copy()
        moved[np.argmin(np.abs(places - good))] = at
        losses = np.where(moved == at, 0.0, 2.0) + np.array([1.0, 0.0, 0.0, 0.0, 1.0])
        return history.open_ends(history.SearchRound(space, {"x": moved}, losses, 1, ""))

    assert ends(0.12, 0.11) == ends(0.88, 0.89) == []
    assert ends(0.12, 0.09) == [("x", "low")]
    assert ends(0.88, 0.91) == [("x", "high")]


@pytest.mark.parametrize("seeds", [1, 2, 3, 4])
def test_the_median_of_an_even_number_of_seeds_is_the_mean_of_the_middle_two(monkeypatch, seeds):
    ended = {0: 1.0, 1: 4.0, 2: 2.0, 3: np.inf}

    class Trace(dict):
        status = (Status.COMPLETED, Status.COMPLETED)

    monkeypatch.setattr(
        history.training, "run", lambda *given, seeds, **options: Trace(loss=np.full((2, 1), ended[seeds]))
    )
    losses = evaluator(objectives.quadratic([1.0]), rules.sgd, num_seeds=seeds)({"learning_rate": np.ones(2)}, 1)
    assert losses.tolist() == [np.median([ended[seed] for seed in range(seeds)])] * 2


def test_coarse_to_fine_warns_of_short_horizons():
    best = {10: -3.0, 100: -3.0, 1000: 0.0}  # the best logarithm of the rate grows with the horizon
    space = search.Space(rate=search.log_uniform(np.exp(-8.0), np.exp(4.0)))
    found = search.coarse_to_fine(
        lambda columns, steps: np.abs(np.log(columns["rate"]) - best[steps]), space, num_trials=8, steps=(10, 100, 1000)
    )
    assert "trials of 10 steps chose among those of 1000" in found.warnings[0]
    assert (
        "rate: trials of 1000 steps are best at the high edge of the box that trials of 100 steps drew"
        in found.warnings[1]
    )


def test_coarse_to_fine_warns_wherever_random_trials_lost_the_best():
    lost, warned, texts = [], [], set()
    for seed, optimum in enumerate(np.linspace(0.05, 0.95, 400)):
        found = search.coarse_to_fine(
            lambda columns, steps, at=optimum: np.abs(columns["x"] - at), LINE, num_trials=8, steps=(5, 5),
            sampler="random", seed=2 * seed, max_widenings=0,
        )  # fmt: skip
        box = found.rounds[-1].space.dimensions["x"]
        lost.append(not box.low <= optimum <= box.high)
        warned.append(bool(found.warnings))
        texts |= {text.partition("; ")[2] for text in found.warnings}
    lost, warned = np.array(lost), np.array(warned)
    assert 0.1 < lost.mean() < 0.22  # 0.158
    assert warned[lost].all()
    assert warned[~lost].mean() < 0.4  # a best that is inside lies outermost in 2 x 1.5 of n + 1 places
    assert texts == {"random trials are not evenly spaced, and none may have been near the best one"}


def test_block_coordinate_leaves_r_squared_of_the_error():
    # A29: the exact minimum on each line; a fine line of trials comes as near to it as its spacing.
    r = 0.9

    def loss(columns, steps):
        x, y = columns["x"] - 0.5, columns["y"] - 0.5
        return x * x + y * y - 2 * r * x * y

    start = {"x": 0.75, "y": 0.75}
    found = search.block_coordinate(loss, PLANE, num_sweeps=1, num_trials=4001, shrink=1.0, start=start)
    assert found.values["x"] - 0.5 == pytest.approx(r * 0.25, abs=3e-4)
    assert found.values["y"] - 0.5 == pytest.approx(r * r * 0.25, abs=3e-4)
    assert [box.reason for box in found.rounds] == [
        "sweep 1 along x, the others held",
        "sweep 1 along y, the others held",
    ]


def test_successive_halving_runs_the_best_longer():
    found = search.successive_halving(
        lambda columns, steps: np.abs(columns["x"] - 0.3) + 1 / steps,
        LINE,
        num_trials=64,
        steps=(1, 4, 16),
        sampler="sobol",
    )
    assert [len(box.losses) for box in found.rounds] == [64, 16, 4]
    assert abs(found.values["x"] - 0.3) < 1 / 64
    assert found.num_steps == 64 + 16 * 4 + 4 * 16


def test_optuna_asks_in_batches():
    pytest.importorskip("optuna")
    space = search.Space(x=search.uniform(0.0, 1.0), kind=search.choices(0, 1))
    found = search.ask_and_tell(
        lambda columns, steps: np.where(columns["kind"] == 1, (columns["x"] - 0.3) ** 2, np.inf),
        space,
        num_trials=40,
        batch=8,
    )
    assert len(found.rounds) == 5
    assert found.values["kind"] == 1
    assert found.loss < 1e-2


def test_optuna_keeps_trials_in_a_storage_and_goes_on_after_a_kill(tmp_path):
    """A process dies within its third batch of four: eight trials are told, four are left behind and asked for anew."""
    pytest.importorskip("optuna")
    path = tmp_path / "journal.log"
    command = [sys.executable, "-m", "tests.search.asking", str(path), "20", "3"]
    done = subprocess.run(command, cwd=ROOT, input="go\n", capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    from tests.search.asking import SPACE, find

    found, asked = find(path, 20)
    assert asked == 12
    assert found.num_trials == 20
    assert "8 trials of 1000 steps" in str(found.rounds[0])
    assert "other processes or earlier calls told these" in str(found.rounds[0])
    assert np.isinf(np.concatenate([each.losses for each in found.rounds])).any()  # diverged ones are kept as such
    again, asked = find(path, 20)
    assert (asked, again.num_trials, again.loss, again.values) == (0, 20, found.loss, found.values)
    for options, differing in (({"steps": 7}, "steps"), ({"space": search.Space(x=search.uniform(0.0, 2.0))}, "space")):
        given = {"space": SPACE, "storage": storage_of(path), "num_trials": 24} | options
        with pytest.raises(InputError, match=f"the study jaxopt_lab differs in {differing}. Give this search a name"):
            search.ask_and_tell(lambda columns, steps: columns["x"], **given)
    other, asked = find(path, 4, study="another")
    assert (asked, other.num_trials) == (4, 4)


def storage_of(path):
    from tests.search.asking import storage

    return storage(path)


@pytest.mark.slow
def test_optuna_shares_a_storage_among_processes_and_no_trial_is_lost_or_doubled(tmp_path):
    pytest.importorskip("optuna")
    path = tmp_path / "journal.log"
    command = [sys.executable, "-m", "tests.search.asking", str(path), "48"]
    team = [
        subprocess.Popen([*command, *more], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for more in ([], [], ["2"])
    ]
    for each in team:
        assert each.stdout.readline() == "ready\n"
    for each in team:
        each.stdin.write("go\n")
        each.stdin.flush()
    told = [int(each.communicate()[0] or 4) for each in team]  # the one that dies tells one batch of four
    assert [each.returncode for each in team] == [0, 0, -signal.SIGKILL]
    from tests.search.asking import find

    found, asked = find(path, 48)
    assert asked == 0
    assert found.num_trials == sum(told)
    assert 48 <= found.num_trials <= 48 + 2 * 4  # at most a batch of each other process more
    points = np.concatenate([each.columns["x"] for each in found.rounds])
    assert len(set(points.tolist())) == len(points)  # each process asks for trials of its own


def test_a_storage_that_cannot_be_opened_is_said(tmp_path):
    pytest.importorskip("optuna")
    with pytest.raises(InputError, match=r"the storage cannot be opened \(.*Give a storage that can be written"):
        search.ask_and_tell(lambda columns, steps: columns["x"], LINE, storage="nowhere://x")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: search.sample("sobel", PLANE, 4), "Did you mean 'sobol'?"),
        (lambda: random_points(PLANE, 0), "trials must be a whole number of at least 1, got 0"),
        (lambda: random_points(search.Space(x=1.0), 4), "nothing to search"),
        (lambda: search.coarse_to_fine(lambda c, s: np.zeros(3), LINE, num_trials=8), "one loss for each of 8 trials, got shape"),
        (lambda: search.coarse_to_fine(lambda c, s: np.full(8, np.nan), LINE, num_trials=8), "all 8 trials diverged"),
        (lambda: search.coarse_to_fine(lambda c, s: c["x"], LINE, steps=()), "at least one stage"),
        (lambda: search.successive_halving(lambda c, s: c["x"], LINE, factor=1), "factor must be a whole number of at least 2"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_without_optuna_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(
        InputError, match=r"ask_and_tell: optuna is not installed. Install it: pip install 'jaxopt_lab\[optuna\]'"
    ):
        search.ask_and_tell(lambda columns, steps: columns["x"], LINE)
