import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxopt_lab import networks
from jaxopt_lab.core import InputError

INPUTS = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)) + 2.0, jnp.float32)


class Normalized(nnx.Module):
    """A user's own module, with a stored random stream."""

    def __init__(self, rngs):
        self.layer = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, use_fast_variance=False, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, inputs):
        return self.dropout(self.norm(self.layer(inputs)))


class Deep(linen.Module):
    @linen.compact
    def __call__(self, inputs, train):
        values = linen.BatchNorm(use_running_average=not train, use_fast_variance=False)(linen.Dense(4)(inputs))
        return linen.Dropout(0.5, deterministic=not train)(values)


def nnx_form():
    return networks.functional_nnx(Normalized(nnx.Rngs(0)))


def linen_form():
    variables = Deep().init(jax.random.key(0), INPUTS, train=False)
    return networks.functional_linen(Deep(), variables)


@pytest.fixture(params=[nnx_form, linen_form], ids=["nnx", "linen"])
def form(request):
    return request.param()


def apply(form, *, training, key=None, params=None, state=None):
    params, state = params or form.params, state or form.model_state
    return form.apply(params, state, INPUTS, training=training, key=key)


def test_parameters_and_state_are_plain_dictionaries(form):
    for tree in (form.params, form.model_state):
        assert all(
            isinstance(part, jax.tree_util.DictKey)
            for path, _ in jax.tree_util.tree_leaves_with_path(tree)
            for part in path
        )


def test_in_training_without_a_key_it_normalizes_by_the_batch_and_drops_nothing(form):
    outputs, _ = apply(form, training=True)
    np.testing.assert_allclose(outputs.mean(0), 0, atol=1e-5)  # float32
    np.testing.assert_allclose(outputs.std(0), 1, atol=1e-3)  # epsilon 1e-5 beside variances near 1
    assert not (outputs == 0).any()


def test_in_training_with_a_key_it_drops_half_and_the_key_decides_which(form):
    masks = [apply(form, training=True, key=jax.random.key(seed))[0] == 0 for seed in (1, 1, 2)]
    assert 0 < masks[0].mean() < 1
    np.testing.assert_array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])


def test_every_lane_of_a_vmap_over_keys_has_a_mask_of_its_own(form):
    keys = jax.random.split(jax.random.key(0), 5)
    outputs = jax.vmap(lambda key: apply(form, training=True, key=key)[0])(keys)
    assert len({(lane == 0).tobytes() for lane in np.asarray(outputs)}) == 5


def test_in_evaluation_it_normalizes_by_the_running_statistics_and_leaves_them(form):
    state = jax.tree.map(lambda leaf: leaf + 0.5, form.model_state)
    outputs, after = apply(form, training=False, key=jax.random.key(0), state=state)
    batch, _ = apply(form, training=True)
    assert not np.allclose(outputs, batch, atol=0.1)
    jax.tree.map(np.testing.assert_array_equal, state, after)


def test_the_running_statistics_move_towards_those_of_the_batch(form):
    _, after = apply(form, training=True)
    kernel = next(leaf for leaf in jax.tree.leaves(form.params) if leaf.shape == (3, 4))
    mean = next(leaf for path, leaf in jax.tree_util.tree_leaves_with_path(after) if "mean" in str(path))
    np.testing.assert_allclose(mean, 0.01 * (INPUTS @ kernel).mean(0), rtol=1e-4)  # momentum 0.99, from 0


def test_it_stands_under_jit_grad_and_scan(form):
    def loss(params, state):
        outputs, state = apply(form, training=True, key=jax.random.key(0), params=params, state=state)
        return jnp.mean(outputs**2), state

    def step(carry, _):
        params, state = carry
        grads, state = jax.grad(loss, has_aux=True)(params, state)
        return (jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), state), None

    (params, state), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, length=3))((form.params, form.model_state))
    assert jax.tree.structure(params) == jax.tree.structure(form.params)
    assert not np.array_equal(jax.tree.leaves(state)[0], jax.tree.leaves(form.model_state)[0])


def test_equal_modules_have_equal_callers_so_that_programs_are_shared():
    one, other = nnx_form().call, nnx_form().call
    assert one == other
    assert hash(one) == hash(other)
    assert one != networks.functional_nnx(nnx.Linear(3, 4, rngs=nnx.Rngs(0))).call


def test_the_module_itself_is_left_alone():
    model = Normalized(nnx.Rngs(0))
    form = networks.functional_nnx(model)
    apply(form, training=True, key=jax.random.key(0))
    assert not model.norm.mean[...].any()
    assert model.dropout.rngs.count[...] == 0


class Split(nnx.Module):
    def __init__(self):
        self.rngs = nnx.Rngs(0).split(3)


class Growing(nnx.Module):
    def __call__(self, inputs):
        self.seen = nnx.BatchStat(inputs.sum())
        return inputs


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: networks.functional_nnx(linen.Dense(2)), r"must be a flax.nnx.Module, got Dense. A Linen module goes"),
        (lambda: networks.functional_linen(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), {}), r"must be a flax.linen.Module, got L"),
        (lambda: networks.functional_linen(linen.Dense(2), {"kernel": 1}), r"variables must hold 'params'. Give what mod"),
        (lambda: apply(networks.functional_nnx(Growing()), training=True), r"made new variables during the call"),
        (
            lambda: networks.functional_nnx(Split()),
            r"stores a split random stream. Build it from an unsplit nnx.Rngs",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_made_pure_gets_a_clear_sentence(make, message):
    with pytest.raises(InputError, match=message):
        make()
