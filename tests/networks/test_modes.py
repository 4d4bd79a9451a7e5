"""Modules that are told their mode in the call, or that draw by themselves: the loss in evaluation mode."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxopt_lab as lab
from jaxopt_lab.core import InputError

GENERATOR = np.random.default_rng(0)
INPUTS = jnp.asarray(3.0 * GENERATOR.normal(size=(16, 3)) + 1.0, jnp.float32)
TARGETS = jnp.asarray(GENERATOR.normal(size=16), jnp.float32)
DATA = (INPUTS, TARGETS)
KEYS = (None, *jax.random.split(jax.random.key(0), 2))


def squared(outputs, batch):
    return jnp.mean((outputs[:, 0] - batch[1]) ** 2)


def loss_fn(model, batch):
    return squared(model(batch[0]), batch)


def told_to_train(model, batch):
    return squared(model(batch[0], train=True), batch)


def told_to_evaluate(model, batch):
    return squared(model(batch[0], train=False), batch)


class Told(nnx.Module):
    """Batch normalization and dropout that are told their mode in the call."""

    def __init__(self, rngs):
        self.first = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, use_fast_variance=False, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.last = nnx.Linear(4, 1, rngs=rngs)

    def __call__(self, inputs, train):
        values = self.norm(self.first(inputs), use_running_average=not train)
        return self.last(self.dropout(jnp.tanh(values), deterministic=not train))


class Dropping(nnx.Module):
    """Dropout alone, told its mode in the call."""

    def __init__(self, rngs):
        self.layer, self.dropout = nnx.Linear(3, 1, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, inputs, train):
        return self.layer(self.dropout(inputs, deterministic=not train))


class Drawing(nnx.Module):
    """Noise from a random stream of its own."""

    def __init__(self, rngs):
        self.layer, self.rngs = nnx.Linear(3, 1, rngs=rngs), rngs

    def __call__(self, inputs, train=True):
        values = self.layer(inputs)
        return values + jax.random.normal(self.rngs.noise(), values.shape) if train else values


class AlwaysDrawing(Drawing):
    def __call__(self, inputs):
        return super().__call__(inputs)


class DrawingAndNormalizing(nnx.Module):
    def __init__(self, rngs):
        self.inner, self.norm = Drawing(rngs), nnx.BatchNorm(1, use_fast_variance=False, rngs=rngs)

    def __call__(self, inputs, train):
        return self.norm(self.inner(inputs, train=train), use_running_average=not train)


class Plain(nnx.Module):
    def __init__(self, rngs):
        self.layer = nnx.Linear(3, 1, rngs=rngs)

    def __call__(self, inputs):
        return self.layer(inputs)


def start(problem):
    return problem.init(jax.random.key(0))


def values_of(problem):
    """The loss without a key and with two, in evaluation mode, and frozen."""
    params = start(problem)
    keyed = [float(problem.loss(params, DATA, key)) for key in KEYS]
    return keyed, float(problem.evaluate(params, DATA)), float(problem.freeze().full_loss(params))


def truth(make, mode):
    """The same of the module itself; it normalizes by its initial statistics."""
    return float(mode(make(nnx.Rngs(jax.random.key(0))), DATA))


@pytest.mark.parametrize("given", [Told, Told(nnx.Rngs(jax.random.key(0)))], ids=["factory", "module"])
def test_evaluate_and_freeze_are_the_loss_in_evaluation_mode_that_is_given(given):
    problem = lab.from_nnx(given, told_to_train, DATA, eval_loss_fn=told_to_evaluate)
    keyed, evaluated, frozen = values_of(problem)
    assert evaluated == pytest.approx(truth(Told, told_to_evaluate), rel=1e-5)  # float32
    assert frozen == pytest.approx(evaluated, rel=1e-6)
    assert len({*keyed, evaluated}) == 4


def test_without_a_key_dropout_that_is_told_to_drop_drops_nothing():
    problem = lab.from_nnx(Told, told_to_train, DATA, eval_loss_fn=told_to_evaluate)
    model = Told(nnx.Rngs(jax.random.key(0)))
    model.dropout.rate = 0.0
    assert values_of(problem)[0][0] == pytest.approx(float(told_to_train(model, DATA)), rel=1e-5)  # float32


def test_a_told_module_without_an_evaluation_loss_is_refused():
    message = r"loss_fn told_to_train normalizes by the batch in evaluation mode too: it does not read norm/mean, norm/var.* Give eval_loss_fn=, the same loss"
    with pytest.raises(InputError, match=message):
        lab.from_nnx(Told, told_to_train, DATA)
    with pytest.raises(InputError, match=r"eval_loss_fn told_to_train normalizes by .* It must call the model in eval"):
        lab.from_nnx(Told, told_to_train, DATA, eval_loss_fn=told_to_train)


def test_dropout_alone_needs_no_evaluation_loss():
    keyed, evaluated, _ = values_of(lab.from_nnx(Dropping, told_to_train, DATA))
    assert keyed[0] == evaluated == pytest.approx(truth(Dropping, told_to_evaluate), rel=1e-5)  # float32
    assert len(set(keyed)) == 3


def test_attention_that_is_told_to_drop_drops_nothing_without_a_key():
    class Attending(nnx.Module):
        def __init__(self, rngs):
            self.attention = nnx.MultiHeadAttention(1, 3, dropout_rate=0.5, decode=False, rngs=rngs)

        def __call__(self, inputs, train):
            return self.attention(inputs[:, None], deterministic=not train)[:, 0]

    keyed, evaluated, _ = values_of(lab.from_nnx(Attending, told_to_train, DATA))
    assert keyed[0] == evaluated == pytest.approx(truth(Attending, told_to_evaluate), rel=1e-5)  # float32
    assert len(set(keyed)) > 1


def test_a_module_that_draws_by_itself_is_evaluated_by_the_loss_that_is_given():
    problem = lab.from_nnx(Drawing, loss_fn, DATA, eval_loss_fn=told_to_evaluate)
    keyed, evaluated, frozen = values_of(problem)
    assert keyed[0] == evaluated == frozen == pytest.approx(truth(Drawing, told_to_evaluate), rel=1e-5)  # float32
    assert len(set(keyed)) == 3
    assert problem.freeze().stateful is None


@pytest.mark.parametrize("make", [Drawing, AlwaysDrawing])
def test_a_module_that_draws_in_evaluation_mode_is_refused(make):
    with pytest.raises(InputError, match=r"loss_fn loss_fn depends in evaluation mode on random numbers .* Give eval_loss_fn="):  # fmt: skip
        lab.from_nnx(make, loss_fn, DATA)


def test_a_criterion_fills_in_the_flag_that_the_call_names():
    for make in (Told, Drawing):
        problem = lab.from_nnx(make, data=DATA, criterion=squared)
        keyed, evaluated, frozen = values_of(problem)
        assert evaluated == frozen == pytest.approx(truth(make, told_to_evaluate), rel=1e-5)  # float32
        assert len(set(keyed)) == 3
        outputs = problem.freeze().composite.outputs(start(problem), DATA)
        assert float(squared(outputs, DATA)) == pytest.approx(frozen, rel=1e-6)
        training = problem.composite.outputs(start(problem), DATA)
        assert float(squared(training, DATA)) == pytest.approx(keyed[0], rel=1e-6)


def test_a_criterion_on_a_module_that_always_draws_is_refused_with_another_way():
    with pytest.raises(
        InputError, match=r"criterion squared depends .* under a flag of its call \(train, deterministic\)"
    ):
        lab.from_nnx(AlwaysDrawing, data=DATA, criterion=squared)
    with pytest.raises(InputError, match=r"eval_loss_fn goes with loss_fn, and criterion was given\. A criterion is"):
        lab.from_nnx(Told, data=DATA, criterion=squared, eval_loss_fn=told_to_evaluate)


def test_recorded_losses_of_a_module_with_state_that_draws_are_those_of_its_own_statistics():
    """Without the state the loss cannot tell: its training mode is random, its evaluation mode needs the statistics."""
    problem = lab.from_nnx(DrawingAndNormalizing, told_to_train, DATA, eval_loss_fn=told_to_evaluate)
    trace = lab.run(problem, optax.sgd(0.1), steps=6)
    ended = problem.evaluate(trace.params_of(), DATA, trace.model_state_of())
    assert trace["loss"][0, -1] == pytest.approx(float(ended), rel=1e-5)  # float32
    initial = problem.evaluate(trace.params_of(), DATA)
    assert abs(float(initial) - float(ended)) > 0.01 * float(ended)


def test_validation_and_metrics_are_taken_in_evaluation_mode():
    problem = lab.from_nnx(
        Told, told_to_train, DATA, eval_loss_fn=told_to_evaluate, validation=DATA,
        metrics={"again": told_to_evaluate},
    )  # fmt: skip
    probes = [lab.training.validation_loss(), lab.training.metric("again")]
    trace = lab.run(problem, optax.sgd(0.1), steps=3, probes=probes)
    expected = problem.evaluate(trace.params_of(), DATA, trace.model_state_of())
    assert trace["validation_loss"][0, -1] == pytest.approx(float(expected), rel=1e-5)  # float32
    assert trace["validation_again"][0, -1] == pytest.approx(float(expected), rel=1e-5)


def test_an_evaluation_loss_of_a_module_without_state_is_carried_through_runs_and_diagnoses():
    problem = lab.from_nnx(Drawing, loss_fn, DATA, eval_loss_fn=told_to_evaluate, validation=DATA)
    trace = lab.run(
        problem, lab.rules.sgd, {"learning_rate": [0.01, 0.02]}, steps=3, probes=[lab.training.validation_loss()]
    )
    last = problem.evaluate(trace.params_of(1), DATA, trace.model_state_of(1))
    assert trace["validation_loss"][1, -1] == pytest.approx(float(last), rel=1e-5)  # float32
    assert lab.diagnose(problem, optax.sgd(0.01), steps=20, batch_size=4).causes


def test_modules_that_follow_the_mode_pass_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lab.from_nnx(
            lambda rngs: lab.networks.MLP(3, 1, width=4, depth=1, norm="batch", dropout=0.2, rngs=rngs), loss_fn, DATA
        )


@pytest.mark.parametrize(
    "mixing",
    [
        lambda model, batch: jax.nn.logsumexp(model(batch[0]) @ model(batch[0]).T / 10),
        lambda model, batch: jnp.sum((model(batch[0])[:, 0] - batch[1]) ** 2 * batch[1] ** 2) / jnp.sum(batch[1] ** 2),
        lambda model, batch: squared((model(batch[0]) - model(batch[0]).mean(0)) / model(batch[0]).std(0), batch),
    ],
    ids=["contrastive", "masked", "normalized-by-hand"],
)
def test_a_loss_that_mixes_examples_is_taken_with_a_warning(mixing):
    with pytest.warns(
        UserWarning, match="depends on the others of its batch .* give eval_loss_fn=.* ignore this warning"
    ):
        problem = lab.from_nnx(Plain, mixing, DATA)
    assert np.isfinite(float(problem.full_loss(start(problem))))


def test_a_zero_layer_at_the_end_hides_no_mixing():
    class Silent(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(3, 4, rngs=rngs)
            self.last = nnx.Linear(4, 1, kernel_init=nnx.initializers.zeros, rngs=rngs)

        def __call__(self, inputs):
            values = self.first(inputs)
            return self.last(values - values.mean(0))

    with pytest.warns(UserWarning, match="depends on the others of its batch"):
        lab.from_nnx(Silent, loss_fn, DATA)


def test_one_example_or_equal_ones_tell_nothing_and_pass():
    for rows in (slice(0, 1), np.zeros(4, int)):
        lab.from_nnx(Plain, loss_fn, jax.tree.map(lambda leaf, rows=rows: leaf[rows], DATA))


def test_a_loss_that_needs_its_key_takes_an_evaluation_loss_in_its_place():
    def noisy(model, batch, key):
        return squared(model(batch[0] + jax.random.normal(key, batch[0].shape)), batch)

    with pytest.raises(InputError, match=r"loss_fn noisy needs its key: without one it fails .* or give eval_loss_fn="):
        lab.from_nnx(Plain, noisy, DATA)
    keyed, evaluated, _ = values_of(lab.from_nnx(Plain, noisy, DATA, eval_loss_fn=loss_fn))
    assert keyed[0] == evaluated == pytest.approx(truth(Plain, loss_fn), rel=1e-5)  # float32


def test_an_error_in_the_users_loss_names_the_function_and_what_it_got():
    def wrong(model, batch):
        return jnp.mean(model(batch[0].T))

    with pytest.raises(InputError, match=r"from_nnx: loss_fn wrong fails \(TypeError.*\); it was called with params layer/bias float32\[1\]") as caught:  # fmt: skip
        lab.from_nnx(Plain, wrong, DATA)
    assert isinstance(caught.value.__cause__, TypeError)


def test_three_losses_of_four_examples_are_all_that_is_computed():
    sizes = []

    def counted(model, batch):
        jax.debug.callback(lambda inputs: sizes.append(len(inputs)), batch[0])
        return loss_fn(model, batch)

    lab.from_nnx(Plain, counted, (jnp.tile(INPUTS, (50, 1)), jnp.tile(TARGETS, 50)))
    jax.effects_barrier()
    assert sizes == [4, 4, 4]
