import concurrent.futures
import dataclasses

import pytest

from jaxopt_lab import objectives, problems, rules, training
from jaxopt_lab.core import InputError
from jaxopt_lab.training.execution import Execution, Workload, alternatives, choose_loop, choose_width, measure_workload

SMALL = Workload(num_parameters=100, num_examples=500, batch_size=10, convolves=False, many_trials=True)
LARGE = dataclasses.replace(SMALL, num_parameters=10**6)


def test_small_steps_go_side_by_side_and_large_ones_of_many_trials_one_after_the_other():
    assert choose_loop("auto", SMALL) == "vmap"
    assert choose_loop("auto", LARGE) == "map"  # 6 x 1e6 x 10 operations a step
    assert choose_loop("auto", dataclasses.replace(LARGE, many_trials=False)) == "vmap"
    assert choose_loop("vmap", LARGE) == "vmap"  # as asked


def test_on_an_accelerator_trials_go_side_by_side_whatever_they_are(monkeypatch):
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    for work in (LARGE, dataclasses.replace(SMALL, convolves=True)):
        assert choose_loop("auto", work, in_chunks=True) == "vmap"
    assert choose_loop("map", LARGE) == "map"  # as asked


def test_convolutions_are_stepped_and_long_vectors_cut_where_the_loss_allows_it():
    assert choose_loop("auto", dataclasses.replace(SMALL, convolves=True)) == "step"
    long = dataclasses.replace(LARGE, num_parameters=2**21, many_trials=False)
    assert choose_loop("auto", long, in_chunks=True) == "chunks"
    assert choose_loop("auto", long) == "vmap"


@pytest.mark.parametrize(
    ("num", "most", "width"),
    [
        (2000, 2000, 1000),  # 2^17 numbers fit: 1310 trials, and 1024 is the power of two below
        (1025, 1025, 513),  # two chunks of one size, not a full one and one of a single trial
        (64, 16, 16),  # as many as leave no device idle
        (3, 3, 3),
    ],
)
def test_many_trials_are_cut_into_chunks_of_one_size(num, most, width):
    assert choose_width(SMALL, "vmap", num, most) == width


def test_a_run_takes_all_at_once_where_they_fit():
    run = dataclasses.replace(SMALL, many_trials=False)
    assert choose_width(run, "vmap", 300) == 300
    assert choose_width(run, "vmap", 10**5) == 4096
    assert choose_width(dataclasses.replace(run, num_parameters=10**6), "vmap", 300) == 1


def test_only_widths_near_the_usual_one_are_worth_timing():
    assert alternatives(SMALL, "auto", 2000, 2000) == [("vmap", 250), ("vmap", 1000), ("vmap", 2000), ("map", 8)]
    assert alternatives(SMALL, "vmap", 2000, 2000) == [("vmap", 250), ("vmap", 1000), ("vmap", 2000)]
    assert alternatives(SMALL, "map", 2000, 2000) == []


def test_a_convolution_is_found_in_the_loss_only_where_nothing_was_asked_for():
    problem = problems.load_problem("digits-convnet", width=2, depth=1, num_examples=20)
    assert measure_workload(problem, None, "auto").convolves
    assert not measure_workload(problem, None, "vmap").convolves


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loop": "maps"}, r"Execution: loop must be one of: .*; got 'maps'\. Did you mean 'map'\?"),
        ({"width": 0}, "width must be a whole number of at least 1, got 0"),
        ({"segments": 0}, "segments must be a whole number of at least 1, got 0"),
        ({"devices": 1.5}, "devices must be a whole number of at least 1, got 1.5"),
        ({"checkpoint_seconds": -1}, r"checkpoint_seconds must be in \[0, inf\], got -1"),
        ({"workers": 0}, "workers must be a whole number of at least 1, got 0"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        Execution(**change)


@pytest.mark.parametrize("asked", [{"workers": 2}, {"executor": concurrent.futures.ThreadPoolExecutor}])
def test_a_run_has_no_workers(asked):
    with pytest.raises(InputError, match=r"run: workers are for sweeps and comparisons\. Leave them out"):
        training.run(
            objectives.quadratic([1.0]), rules.sgd, {"learning_rate": 0.1}, steps=1, execution=Execution(**asked)
        )
