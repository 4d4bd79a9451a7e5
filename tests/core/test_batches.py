import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxopt_lab as lab
from jaxopt_lab import networks
from jaxopt_lab.core import InputError, batches, from_loss
from jaxopt_lab.core.batches import Batches, as_data, materialized, require_batch_size, sampled

INPUTS = np.random.default_rng(0).normal(size=(10, 3)).astype("float32")
TARGETS = INPUTS @ np.array([1.0, -2.0, 0.5], "float32")
ARRAYS = {"x": INPUTS, "y": TARGETS}


def parts(size=4):
    """The examples as dict batches, the last one shorter."""
    return [{"x": INPUTS[low : low + size], "y": TARGETS[low : low + size]} for low in range(0, 10, size)]


def loss(params, batch, key):
    del key
    return 0.5 * jnp.mean((batch["x"] @ params - batch["y"]) ** 2)


USED = iter(parts())


class Tensor:
    """An array of another library, which NumPy can read."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)


class Loader:
    """A loader of another library: iterated again and again, with a length, and tensors in its batches."""

    def __len__(self):
        return 3

    def __iter__(self):
        return ({name: Tensor(array) for name, array in part.items()} for part in parts())


SOURCES = {
    "list": parts,
    "function": lambda: lambda: iter(parts()),
    "loader": Loader,
    "method": lambda: Loader().__iter__,
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES.keys())
def test_whatever_can_be_gone_through_again_is_batches(make):
    data = as_data("mine", make())
    assert isinstance(data, Batches)
    assert (data.batch_size, data.num_examples) == (4, 10)
    for _ in range(2):
        chex.assert_trees_all_equal(list(data()), parts())
    chex.assert_trees_all_equal(materialized("sweep", "mine", data), ARRAYS)


@pytest.mark.parametrize(
    "data",
    [
        None,
        ARRAYS,
        (INPUTS, TARGETS),
        [INPUTS, TARGETS],
        INPUTS,
        jnp.ones((4, 2)),
        jax.random.split(jax.random.key(0), 3),
    ],
)
def test_pytrees_of_arrays_stay_what_they_are(data):
    assert as_data("mine", data) is data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            (part for part in parts()),
            "mine: data is an iterator that can be consumed once. Give a function that starts",
        ),
        (iter(parts()), "can be consumed once"),
        (itertools.repeat(parts()[0]), "can be consumed once"),
        (
            lambda: USED,
            "data returns the same iterator at each call. Give a function that starts a new one",
        ),
        (lambda: 3, r"calling it without arguments gives no iteration \(TypeError: it returns a int\)"),
        (lambda epoch: iter(parts()), r"gives no iteration \(TypeError: .*missing 1 required positional argument"),
        (lambda: iter(()), "a pass over its data gives no batch"),
        (lambda: iter([{"x": INPUTS, "y": TARGETS[:3]}]), r"the leaves of a batch must share their leading axis"),
        (lambda: iter([{"x": np.array(["a"])}]), "a batch holds text"),
        (lambda: iter([{}]), "holds no array"),
        (lambda: (parts()[1 // place] for place in (0,)), r"the iteration over its data fails \(ZeroDivisionError"),
    ],
)
def test_what_gives_no_batches_is_refused_in_a_sentence(data, message):
    with pytest.raises(InputError, match=message):
        from_loss(loss, jnp.zeros(3), data, name="mine")


def test_a_loader_that_is_used_up_after_one_pass_is_found_out():
    used = iter(parts())
    problem = from_loss(loss, jnp.zeros(3), lambda: (each for each in used), name="mine")
    assert problem.num_examples == 6  # the first batch was taken to look at it
    with pytest.raises(InputError, match=r"mine: a pass over its data gives no batch. Each iteration must begin anew"):
        problem.full_loss(jnp.zeros(3))


def test_the_loss_of_batches_is_the_mean_over_examples():
    ragged, whole = (from_loss(loss, jnp.zeros(3), data) for data in (parts(), ARRAYS))
    assert ragged.num_examples == 10
    np.testing.assert_allclose(ragged.full_loss(jnp.ones(3)), whole.full_loss(jnp.ones(3)), rtol=1e-6)  # float32 sums
    assert repr(ragged) == "Problem('loss', 3 numbers train, batches of 4 examples)"
    assert "data         batches of x float32[4, 3], y float32[4]" in str(ragged)


def test_validation_in_batches_is_kept_as_arrays():
    problem = from_loss(loss, jnp.zeros(3), ARRAYS, validation=parts())
    chex.assert_trees_all_equal(problem.validation, ARRAYS)


def test_a_flax_model_takes_batches():
    model = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
    pairs = [(part["x"], part["y"][:, None]) for part in parts()]
    problem = networks.from_nnx(model, data=pairs, criterion=lambda out, batch: jnp.mean((out - batch[1]) ** 2))
    assert isinstance(problem.data, Batches)
    operator = lab.curvature.hessian(problem, problem.init(jax.random.key(0)))
    whole = networks.from_nnx(
        model, data=(INPUTS, TARGETS[:, None]), criterion=lambda out, batch: jnp.mean((out - batch[1]) ** 2)
    )
    theirs = lab.curvature.hessian(whole, whole.init(jax.random.key(0)))
    vector = jax.tree.map(jnp.ones_like, operator.like)
    chex.assert_trees_all_close(operator(vector), theirs(vector), rtol=1e-5)  # sums in another order


def test_a_sample_is_fixed_uniform_and_said():
    numbers = np.arange(1000)
    data = as_data("mine", lambda: (numbers[low : low + 64] for low in range(0, 1000, 64)))
    arrays, text = sampled("mine", data, most=100)
    assert text == "100 of 1,000 examples that the data give were drawn once, at random"
    np.testing.assert_array_equal(arrays, sampled("mine", data, most=100)[0])
    assert (np.diff(arrays) > 0).all()
    # A mean of 100 of 0 .. 999 without replacement has standard deviation 27; means of 40 draws, 4.3.
    means = [sampled("mine", data, seed=seed, most=100)[0].mean() for seed in range(40)]
    assert abs(np.mean(means) - 499.5) < 4 * 4.3


def test_a_sample_of_few_examples_is_all_of_them_and_says_nothing():
    arrays, text = sampled("mine", as_data("mine", parts()))
    chex.assert_trees_all_equal(arrays, ARRAYS)
    assert text == ""
    assert sampled("mine", ARRAYS) == (ARRAYS, "")


def test_data_without_end_are_sampled_from_their_beginning():
    data = as_data("mine", lambda: itertools.repeat(parts()[0]))
    arrays, text = sampled("mine", data, most=10)
    chex.assert_shape(arrays["x"], (10, 3))
    assert text == "10 of the first 160 examples that the data give were drawn once, at random"


def test_data_that_do_not_fit_are_refused_with_the_size():
    data = as_data("mine", lambda: itertools.repeat(parts()[0]))
    with pytest.raises(
        InputError,
        match=r"sweep: the data of mine must stay in memory, and take more than 9\.31e-07 GiB: 64 examples were read",
    ):
        materialized("sweep", "mine", data, 1000)


def test_a_tensor_that_numpy_cannot_read_is_said():
    class Far(Tensor):
        def __array__(self, dtype=None, copy=None):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")

    with pytest.raises(InputError, match=r"a Far of a batch cannot be made an array \(TypeError: can't convert cuda"):
        from_loss(loss, jnp.zeros(3), lambda: iter([{"x": Far(INPUTS), "y": TARGETS}]))


def test_a_batch_is_a_part_of_the_examples():
    for size in (None, 1, 4):
        require_batch_size("run", size, "mine", 4)
    require_batch_size("run", None, "mine", None)


@pytest.mark.parametrize(
    ("size", "num", "message"),
    [
        (5, 4, "run: batch_size 5 needs as many examples, mine has 4 to train on"),
        (1, None, "mine has None"), (0, 4, "batch_size must be a whole number of at least 1, got 0"),
        (2.0, 4, "batch_size must be a whole number"),
    ],
)  # fmt: skip
def test_a_batch_of_more_than_all_examples_is_refused(size, num, message):
    with pytest.raises(InputError, match=message):
        require_batch_size("run", size, "mine", num, "to train on")


def test_the_largest_sample_is_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(batches, "SAMPLE_BYTES", 16 * 5)  # an example takes 16 bytes
    arrays, text = sampled("mine", as_data("mine", parts(2)))
    chex.assert_shape(arrays["x"], (5, 3))
    assert text.startswith("5 of 10 examples")


@pytest.mark.parametrize("library", ["torch", "grain", "tensorflow"])
def test_loaders_of_other_libraries_give_their_batches(library):
    module = pytest.importorskip(library)
    if library == "torch":
        tensors = module.utils.data.TensorDataset(module.tensor(INPUTS), module.tensor(TARGETS))
        data = module.utils.data.DataLoader(tensors, batch_size=4)
    elif library == "grain":
        data = module.MapDataset.source(list(zip(INPUTS, TARGETS, strict=True))).batch(4)
    else:
        data = module.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(4)
    found = as_data("mine", data)
    assert found.num_examples == 10
    chex.assert_trees_all_equal(tuple(materialized("sweep", "mine", found)), (INPUTS, TARGETS))
