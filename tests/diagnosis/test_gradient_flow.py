"""Where the gradient arrives, and whether it is that of the loss."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Stateful, Status
from jaxopt_lab.diagnosis import program_checks
from jaxopt_lab.diagnosis.budget import Budget
from jaxopt_lab.diagnosis.causes import no_gradient
from jaxopt_lab.diagnosis.program_checks import ProgramChecks, measure_gradient_flow
from jaxopt_lab.rules.frozen import without_frozen
from jaxopt_lab.rules.identification import UNKNOWN
from tests.diagnosis.pieces import CLASSES, evidence

RNG = np.random.default_rng(0)
DATA = (RNG.standard_normal((64, 3)).astype(np.float32), RNG.standard_normal((64, 2)).astype(np.float32))
PARAMS = {"in": RNG.standard_normal((3, 4)).astype(np.float32), "out": RNG.standard_normal((4, 2)).astype(np.float32)}


def reversing(share):
    """The identity, whose gradient is `share` of what it should be."""
    rule = jax.custom_vjp(lambda x: x)
    rule.defvjp(lambda x: (x, None), lambda _, image: (share * image,))
    return rule


def flow_of(outputs, params=PARAMS, ended=None):
    """Of the squared error of outputs(params, inputs), with a run that ended at the given parameters."""

    def loss(params, batch, key):
        return jnp.mean((outputs(params, batch[0]) - batch[1]) ** 2)

    made = evidence(lab.from_loss(loss, params, DATA))
    setting = dataclasses.replace(made.setting, params=params)
    run = dataclasses.replace(made.run, params=params if ended is None else ended)
    return measure_gradient_flow(dataclasses.replace(made, setting=setting, run=run), Budget(1000.0))


@pytest.mark.parametrize(("share", "opposed"), [(-1.0, True), (-8.0, True), (-12.0, False), (0.3, False), (1.0, False)])
def test_a_rule_that_turns_the_gradient_round_is_seen(share, opposed):
    """Where it is s times the loss's own, the loss moves by 1 / s of what it tells."""
    turned = reversing(share)
    found = flow_of(lambda params, x: turned(jnp.tanh(x @ params["in"])) @ params["out"])
    assert found.opposed == (("in",) if opposed else ())
    assert found.rise == 1.0


def test_gradients_are_held_against_differences_only_where_a_rule_is_brought_along(monkeypatch):
    monkeypatch.setattr(program_checks, "opposed_leaves", lambda *arguments: pytest.fail("it was"))
    assert flow_of(lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"]).opposed == ()


@pytest.mark.parametrize(("held", "rise"), [(0.0, 1.0), (0.5, 2.0), (2.0, -1.0)])
def test_a_loss_is_a_surrogate_where_its_gradient_is_not_its_rise(held, rise):
    """The outputs are 1 - `held` of what moves and `held` of what is held back: the loss moves by 1 / (1 - held)."""

    def outputs(params, x):
        moving = x @ params["in"] @ params["out"]
        return (1 - held) * moving + held * jax.lax.stop_gradient(moving)

    elsewhere = jax.tree.map(lambda leaf: -3 * leaf[::-1], PARAMS)
    for ended in (PARAMS, elsewhere):  # of the point, wherever the run ends
        assert flow_of(outputs, ended=ended).rise == pytest.approx(rise, rel=1e-3)


@pytest.mark.parametrize(
    "outputs",
    [
        lambda params, x: jax.lax.stop_gradient(x) @ params["in"] @ params["out"],
        lambda params, x: jax.nn.log_softmax(x @ params["in"]) @ params["out"],
        lambda params, x: jax.nn.softmax(x @ params["in"]) @ params["out"],
        lambda params, x: (jax.lax.stop_gradient(params["in"]) * 2, x @ params["in"] @ params["out"])[1],  # never read
    ],
)
def test_what_holds_back_the_data_alone_or_the_shift_of_a_softmax_makes_no_surrogate(outputs, monkeypatch):
    monkeypatch.setattr(program_checks, "rise", lambda *arguments: pytest.fail("it was measured"))
    assert flow_of(outputs).rise == 1.0


def test_what_drowns_in_the_rounding_of_narrow_parameters_is_no_surrogate():
    """A part of the loss that is held back is twice the whole: bfloat16 cannot show that it falls."""
    narrow = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), PARAMS)

    def outputs(params, x):
        moving = x @ params["in"].astype(x.dtype) @ params["out"].astype(x.dtype)
        return 2 * jax.lax.stop_gradient(moving) - moving

    assert flow_of(outputs).rise < 0
    assert flow_of(outputs, narrow).rise == 1.0


@pytest.mark.parametrize(
    ("outputs", "without", "held"),
    [
        (lambda params, x: jnp.round(x @ params["in"]) @ params["out"], ("in",), True),
        (lambda params, x: jax.lax.stop_gradient(x @ params["in"]) @ params["out"], ("in",), True),
        (lambda params, x: jnp.round(x) @ params["in"] @ params["out"], (), False),
        (lambda params, x: x[:, :2] @ params["out"][:2], ("in",), False),  # is not read
        (lambda params, x: 0 * jnp.round(x @ params["in"]) @ params["out"], ("in", "out"), False),  # nor past it
    ],
)
def test_a_gradient_that_would_pass_is_held_at_a_line(outputs, without, held):
    found = flow_of(outputs)
    assert found.without == without
    assert len(found.held_at) == held
    if without:
        cure = no_gradient.examine(evidence(program=ProgramChecks(gradients=found))).prescription
        assert cure.text.startswith("Let the gradient pass") == held
        assert not held or (cure.change is not None and found.held_at[0] in cure.text)
        for end, tentative in ((0.9, False), (0.1, held)):  # where the run ends well it may be meant
            made = evidence(end=end, program=ProgramChecks(gradients=found))
            assert no_gradient.examine(made).is_tentative == tentative


ALIKE = {"in": np.full((3, 4), 0.1, np.float32), "out": np.zeros((4, 2), np.float32)}


@pytest.mark.parametrize(
    ("ended", "symmetric"),
    [
        ({"in": ALIKE["in"] + np.arange(3, dtype="f")[:, None], "out": np.float32([[1.0, 2.0]] * 4)}, ("in", "out")),
        ({"in": PARAMS["in"], "out": np.float32([[1.0, 2.0]] * 4)}, ("out",)),
        ({"in": ALIKE["in"], "out": PARAMS["out"]}, ("in",)),
        ({"in": ALIKE["in"], "out": ALIKE["out"]}, ()),  # nothing moved, and zeros stop the gradient
    ],
)
def test_rows_or_columns_that_begin_and_stay_alike_are_symmetric(ended, symmetric):
    model = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]  # noqa: E731
    nudged = dict(ALIKE, out=ALIKE["out"] + 1e-3)  # so that every leaf has a gradient
    assert flow_of(model, nudged if ended["out"].any() else ALIKE, ended).symmetric == symmetric


def test_averages_that_are_evaluated_are_moved_by_what_is_trained():
    """The loss of running averages alone has no gradient; that of training mode has."""

    def error(params, batch):
        return jnp.mean((jnp.tanh(batch[0] @ params["in"]) @ params["out"] - batch[1]) ** 2)

    averaged = Stateful(PARAMS, lambda params, state, batch, key: (error(params, batch), params),
                        lambda params, state, batch: error(state, batch))  # fmt: skip
    frozen = Stateful(PARAMS, lambda params, state, batch, key: (error(state, batch), state),
                      lambda params, state, batch: error(state, batch))  # fmt: skip
    plain = lab.from_loss(lambda params, batch, key: error(params, batch), PARAMS, DATA)
    for stateful, without in ((averaged, ()), (frozen, ("in", "out"))):
        made = evidence(dataclasses.replace(plain, stateful=stateful))
        setting = dataclasses.replace(made.setting, params=PARAMS)
        run = dataclasses.replace(made.run, params=PARAMS, model_state=PARAMS)
        found = measure_gradient_flow(dataclasses.replace(made, setting=setting, run=run), Budget(1000.0))
        assert found.without == without


@pytest.mark.parametrize(
    ("frozen", "end", "found"), [(True, 0.96, True), (True, 0.94, False), (False, 0.96, False)]
)  # fmt: skip
def test_leaves_that_the_rule_never_moves_are_told_where_the_others_learn_nothing(frozen, end, found):
    start = {"kept": jnp.zeros(2), "moved": jnp.zeros(3)}
    problem = dataclasses.replace(CLASSES, init=lambda key: start)
    if frozen:
        problem, _, _ = without_frozen(problem, optax.sgd(0.1), start, (True, False))
    told = no_gradient.examine(evidence(problem, end))
    assert (told is not None and not told.is_tentative) == found
    assert not found or "The rule never moves kept, and with what it moves the run learns next to" in told.explanation
    diverged = evidence(problem, end)
    diverged = dataclasses.replace(diverged, run=dataclasses.replace(diverged.run, status=Status.NON_FINITE))
    assert no_gradient.examine(diverged) is None


@pytest.mark.parametrize(
    ("end", "from_init", "known", "tentative"),
    [(0.96, True, True, False), (0.9, True, True, True), (0.9, False, True, None), (0.9, True, False, None), (0.1, True, True, None)],
)  # fmt: skip
def test_whether_all_leaves_are_to_be_trained_is_tried_where_the_run_goes_badly(end, from_init, known, tentative):
    start = {"kept": jnp.zeros(2), "moved": jnp.zeros(3)}
    problem = dataclasses.replace(CLASSES, init=lambda key: start)
    part, _, _ = without_frozen(problem, optax.sgd(0.1), start, (True, False))
    made = evidence(part, end)
    optimizer = made.setting.optimizer if known else UNKNOWN
    made = dataclasses.replace(
        made, setting=dataclasses.replace(made.setting, from_init=from_init, optimizer=optimizer)
    )
    told = no_gradient.examine(made)
    assert (told and told.is_tentative) == tentative
    if told is not None:
        whole, _ = told.prescription.apply(part, optax.sgd(0.1))
        assert whole.init is problem.init
        assert whole.loss is problem.loss
        assert told.prescription.restarts
