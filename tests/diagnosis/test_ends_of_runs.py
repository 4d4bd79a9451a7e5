"""What is read of a run at its end: the last quarter, the way there, and where it stops being finite."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab.core import Estimate, Status, from_loss
from jaxopt_lab.diagnosis import pipeline
from jaxopt_lab.diagnosis.budget import Budget
from jaxopt_lab.diagnosis.findings import Prescription, make_finding
from jaxopt_lab.diagnosis.probe_runs import ProbeRun, find_on_the_way, probe_run
from jaxopt_lab.diagnosis.trials import Trial
from tests.diagnosis.pieces import evidence


def run_of(losses, cosines=None, status=Status.COMPLETED):
    losses = np.asarray(losses, float)
    cosines = np.ones(len(losses)) if cosines is None else np.asarray(cosines, float)
    return ProbeRun(4 * np.arange(len(losses)), losses, cosines, None, status, jnp.zeros(3), None, None)


def test_the_end_of_a_run_is_the_mean_of_its_last_quarter():
    run = run_of([8, 7, 6, 5, 4, 3, 2, 0])
    assert (run.start, run.end, run.num_steps) == (8.0, 1.0, 28)
    assert run.late_losses == (3.5, 1.0)
    assert run_of([8, 7, 6]).end == 6.0
    assert np.isnan(run_of([8, 7, 6, 5, 4, 3, 2]).late_losses).all()


@pytest.mark.parametrize(
    ("cosines", "median"), [([9, 9, 9, 0.1, np.nan, 0.3], 0.2), ([9, np.nan], np.nan), ([], np.nan)]
)
def test_the_cosine_of_a_run_is_the_median_of_the_last_half(cosines, median):
    assert run_of([1.0] * len(cosines), cosines).cosine == pytest.approx(median, nan_ok=True)


def test_a_loss_that_is_nowhere_finite_is_looked_at_where_the_run_begins():
    problem = from_loss(lambda w, batch, key: jnp.sum(jnp.log(w)), jnp.full(3, -1.0))
    run = run_of([np.nan] * 3, status=Status.NON_FINITE)
    found = find_on_the_way(problem, optax.sgd(0.1), jnp.full(3, -1.0), run, None, 0)
    assert (found.non_finite.name, found.non_finite_step) == ("log", 0)


@pytest.mark.parametrize(("start", "step"), [(1.0, None), (9.0, 1)])
def test_a_run_that_had_grown_before_it_met_a_logarithm_has_a_rate_that_is_too_high(start, step):
    """Each step turns the way to 3 round and makes it 1.4 times as long; below -5 there is no logarithm."""
    problem = from_loss(lambda w, batch, key: jnp.sum(1e3 * (w - 3) ** 2 + jnp.log(w + 5)), jnp.full(1, start))
    rule = optax.sgd(1.2e-3)
    run = probe_run(problem, rule, jnp.full(1, start), steps=20, every=1, batch_size=None, seed=0)
    assert run.status is Status.NON_FINITE
    found = find_on_the_way(problem, rule, jnp.full(1, start), run, None, 0)
    assert (found is run) == (step is None)
    assert found.non_finite_step == step
    assert step is None or found.non_finite.name == "log"


@pytest.mark.parametrize(("is_long", "end", "told"), [(True, 0.9, []), (False, 0.9, ["plateau"])])
def test_what_was_tried_for_too_few_steps_stays(monkeypatch, is_long, end, told):
    cure = Prescription("It.", lambda problem, rule: (problem, rule))
    trial = Trial("plateau", cure, 20, 1.0, 1.0, None, 1.0, 1.0, is_long)
    monkeypatch.setattr(pipeline, "try_prescriptions", lambda *given: {"plateau": trial})
    kept = pipeline._tried(evidence(end=end), [make_finding("plateau", "", [], cure, 2.0)], Budget(200.0, 60.0), print)
    assert [each.cause for each in kept] == told
    assert not kept or kept[0].trial is trial


@pytest.mark.parametrize(("after", "tentative", "told"), [(1.0, True, 0), (1.0, False, 1), (0.5, True, 1)])
def test_what_is_tentative_stays_where_its_change_helps(monkeypatch, after, tentative, told):
    cure = Prescription("It.", lambda problem, rule: (problem, rule))
    trial = Trial("no-gradient", cure, 400, 1.0, after, None, 1.0, 1.0, True)
    monkeypatch.setattr(pipeline, "try_prescriptions", lambda *given: {"no-gradient": trial})
    found = make_finding("no-gradient", "", [], cure, 2.0, is_tentative=tentative)
    assert len(pipeline._tried(evidence(), [found], Budget(200.0, 60.0), print)) == told


def test_a_diagnosis_without_a_cause_tells_what_a_monitor_saw():
    seen = Monitored(Estimate(0.5), Estimate(1e-3), Estimate(-0.1), Estimate(7.0), Estimate(0.25))
    made = evidence(end=0.1)
    assert pipeline._monitored(made) == ()
    made = dataclasses.replace(made, setting=dataclasses.replace(made.setting, monitor=seen))
    told = {each.name: each.value for each in pipeline._healthy(made).evidence}
    assert told["slope of ln loss, by the monitor"] == -0.1
    assert told["noise scale, by the monitor"] == 7.0
    assert told["sharpness over its edge, by the monitor"] == 0.25
    unknown = dataclasses.replace(seen, relative_sharpness=Estimate(np.nan))
    made = dataclasses.replace(made, setting=dataclasses.replace(made.setting, monitor=unknown))
    assert len(pipeline._monitored(made)) == 4


@dataclasses.dataclass(frozen=True)
class Monitored:
    update_cosine: Estimate
    update_ratio: Estimate
    loss_trend: Estimate
    noise_scale: Estimate
    relative_sharpness: Estimate
