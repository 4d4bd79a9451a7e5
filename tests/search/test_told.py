"""What a sweep or a search tells on its way: idle workers, a folder begun elsewhere, a best trial that lies outermost."""

import types

import numpy as np
import pytest

from jaxopt_lab import search
from jaxopt_lab.search import history, sweeps
from jaxopt_lab.search.store import as_settled
from jaxopt_lab.storage.encoding import to_json
from jaxopt_lab.storage.folder import environment


@pytest.mark.parametrize(
    ("workers", "idle"), [(2, []), (3, ["2 chunks leave 1 of 3 workers idle: a smaller K makes more"])]
)
def test_workers_without_a_chunk_are_told_and_progress_once(workers, idle):
    store, told = types.SimpleNamespace(num_stored=0), []

    def work(log, look):
        for store.num_stored in (0, 0, 1, 2):
            look()

    plan = types.SimpleNamespace(chunks=lambda: range(2))
    sweeps._watch(plan, store, types.SimpleNamespace(count=workers, work=work), told.append)
    assert told == idle + [f"chunk {done}/2 by {workers} workers" for done in (0, 1, 2)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"versions": {"jax": "0.1"}}, ["The folder was begun with other versions: {'jax': '0.1'}; last bits may differ."]),
        ({"device": {"kind": "abacus"}}, ["The folder was begun on another device: abacus; last bits may differ."]),
    ],
)  # fmt: skip
def test_a_folder_that_was_begun_elsewhere_is_told_and_its_pair_kept(change, said):
    told, settled = [], {"settled": {"loop": "map", "width": 8, "timed": [["map", 8, 1.0]]}}
    plan = types.SimpleNamespace(with_pair=lambda *pair: pair)
    standing = to_json(environment()) | settled | change
    assert as_settled(plan, standing, told.append) == ("map", 8, (("map", 8, 1.0),))
    assert told == said


def test_a_trial_lies_outermost_only_in_what_is_continuous_and_can_be_widened():
    """The best trial, the first, is at the low end of all; momentum ends at 0, and whole numbers have neighbours."""
    space = search.Space(
        rate=search.log_uniform(0.1, 10.0), wait=search.integers(1, 8), rho=search.one_minus_log_uniform(0.0, 0.9)
    )
    columns = {"rate": np.array([0.2, 1.0, 2.0]), "wait": np.array([1, 2, 3]), "rho": np.array([0.0, 0.2, 0.5])}
    low = history.SearchRound(space, columns, np.array([1.0, 2.0, 3.0]), 10, "")
    assert history._outermost(low) == {"rate": "low"}
    high = history.SearchRound(space, columns, np.array([3.0, 2.0, 1.0]), 10, "")
    assert history._outermost(high) == {"rate": "high", "rho": "high"}
    inside = history.SearchRound(space, columns, np.array([3.0, 1.0, 2.0]), 10, "")
    assert history._outermost(inside) == {}
