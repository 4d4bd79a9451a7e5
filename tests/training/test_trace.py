import dataclasses
import json
import sys
import types

import chex
import numpy as np
import pytest

from jaxopt_lab import objectives, rules, training
from jaxopt_lab.core import InputError
from jaxopt_lab.reporting.figures import house_style
from jaxopt_lab.reporting.page import page_body
from jaxopt_lab.storage.encoding import from_json
from jaxopt_lab.training.report import _course, draws_of


@pytest.fixture(scope="module")
def trace():
    """Three rates on a quadratic, of which the last diverges."""
    bowl = objectives.quadratic([1.0, 0.1], start=1.0)
    probes = [training.loss(), training.coordinates(0)]
    return training.run(bowl, rules.sgd, {"learning_rate": [0.5, 1.0, 30.0]}, steps=10, probes=probes)


def test_printed_it_says_how_it_ran_and_where_the_best_ended(trace):
    head, best, second, worst = str(trace).splitlines()
    assert head.startswith("3 configurations, 10 steps, 11 records, 1 infeasible; loop vmap, K = 3, ")
    assert best == "  learning_rate = 1, seed = 0    loss 0.55 to 0.006079, completed"
    assert second == "  learning_rate = 0.5, seed = 0  loss 0.55 to 0.01792, completed"
    last = np.flatnonzero(np.isfinite(trace["loss"][2]))[-1]
    assert worst.endswith(f"loss 0.55 to {trace['loss'][2, last]:.3e} at step {last}, blown up".replace("e+0", "e"))
    assert repr(trace) == "<Trace of 3 configurations, 10 steps: coordinates, loss>"


def test_many_configurations_stay_within_forty_lines():
    bowl = objectives.quadratic([1.0, 0.1], start=1.0)
    many = training.run(bowl, rules.sgd, {"learning_rate": np.linspace(0.1, 1.0, 60)}, steps=2)
    lines = str(many).splitlines()
    assert len(lines) <= 40
    assert lines[-1] == "... and 40 more configurations"


def test_the_page_has_a_curve_for_each_scalar_probe(trace, tmp_path):
    trace.save(tmp_path / "trace.html")
    page = (tmp_path / "trace.html").read_text()
    assert page.count("<svg") == 1  # the coordinates are no scalar
    assert page.count("<tr>") == 4
    assert "blown up" in page
    body = trace._repr_html_()
    assert "<body>" not in body
    assert body == page_body(page)


def test_as_a_data_frame_it_has_a_row_for_each_record(trace, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=list))
    rows = trace.to_dataframe()
    assert len(rows) == 3 * 11
    assert rows[11] == {"configuration": 1, "seed": 0, "step": 0, "learning_rate": 1.0, "loss": trace["loss"][1, 0]}


def test_as_json_it_keeps_every_record(trace):
    stored = from_json(json.loads(json.dumps(trace.to_json())))
    chex.assert_trees_all_equal(np.asarray(stored["metrics"]["loss"][:2], np.float32), trace["loss"][:2])
    assert stored["status"] == ["completed", "completed", "blown_up"]


def test_a_probe_is_drawn_and_one_that_is_no_curve_is_refused(trace):
    (axes,) = trace.plot().axes
    assert (axes.get_ylabel(), len(axes.lines)) == ("loss", 3)
    with pytest.raises(InputError, match=r"Trace\.plot: probe must be one of: loss; got 'coordinates'"):
        trace.plot("coordinates")


@pytest.mark.parametrize(
    ("values", "course"),
    [([1.0, 2.0, 4.0], "1 to 4"), ([np.nan, 2.0, np.nan], "2 to 2 at step 5"), ([np.nan] * 3, "never finite")],
)
def test_a_probe_is_told_from_its_first_finite_record_to_its_last(values, course):
    assert _course(np.array([0, 5, 10]), "validation_loss", np.array(values)) == f"validation loss {course}"


def test_what_was_never_finite_is_told_and_not_drawn(trace):
    never = dataclasses.replace(trace, metrics={"loss": np.full_like(trace["loss"], np.nan)})
    (draw,) = draws_of(never, "loss")
    with house_style() as maker:
        assert draw(maker) is None
    assert str(never).splitlines()[1].endswith("loss never finite, completed")
