"""What holds for every ready-made problem, at its smallest size."""

import hashlib
import struct

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab import datasets, problems, training
from jaxopt_lab.core import InputError, precision, vectors

TINY = {
    "digits-linear": {"num_examples": 40},
    "digits-mlp": {"num_examples": 40, "width": 8, "depth": 1},
    "digits-convnet": {"num_examples": 12, "width": 2, "depth": 1},
    "digits-resnet": {"num_examples": 12, "width": 2},
    "fashion-mlp": {"width": 4, "depth": 1},
    "fashion-convnet": {"width": 2, "depth": 1},
    "fashion-resnet": {"num_examples": 4, "width": 1},
    "mnist1d-mlp": {"num_examples": 60, "width": 8, "depth": 1},
    "tabular-logistic": {},
    "wine-softmax": {},
    "diabetes-linear": {},
    "text-transformer": {"num_examples": 8, "length": 8, "width": 8, "depth": 1, "num_heads": 2},
    "markov-transformer": {"num_examples": 16, "vocabulary": 5, "length": 6, "width": 8, "depth": 1, "num_heads": 2},
}


@pytest.fixture(scope="module")
def clothes(tmp_path_factory):
    """A folder with a few random images in the place of the package's files."""
    folder = tmp_path_factory.mktemp("clothes")
    generator = np.random.default_rng(0)
    for part, num in (("train", 12), ("t10k", 10)):
        for kind, array in (
            ("images-idx3", generator.integers(0, 256, (num, 28, 28))), ("labels-idx1", np.arange(num) % 10)
        ):  # fmt: skip
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (folder / f"{part}-{kind}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
    return str(folder)


def tiny(name, clothes, **options):
    folder = {"data_dir": clothes} if name.startswith("fashion") else {}
    return problems.load_problem(name, **{**TINY[name], **folder, **options})


def probes_of(problem):
    return [training.loss(), training.validation_loss(), *(training.metric(name) for name in problem.metrics)]


def require_trained(problem, trace, dtype):
    assert trace["loss"][0, -1] < trace["loss"][0, 0]
    chex.assert_tree_all_finite(dict(trace.metrics))
    assert {leaf.dtype for leaf in jax.tree.leaves(trace.params)} == {jnp.dtype(dtype)}


def test_every_problem_is_tried_at_a_tiny_size():
    assert set(TINY) == set(problems.REGISTRY)


TWINS = ("text-transformer", "fashion-resnet", "fashion-convnet")  # the same network on other data: for `make slow`


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(
            name, "float32" if name.startswith("fashion") else "float64", marks=[pytest.mark.slow] * (name in TWINS)
        )
        for name in TINY
    ],
)
def test_it_trains_and_its_outputs_and_criterion_compose_to_the_loss(name, dtype, clothes):
    with precision(dtype):
        problem = tiny(name, clothes)
        trace = training.run(problem, optax.sgd(0.01), steps=2, every=2, probes=probes_of(problem))
        require_trained(problem, trace, dtype)
        params, composite = trace.params_of(0), problem.composite
        composed = jax.jit(lambda point, batch: composite.criterion(composite.outputs(point, batch), batch))
        tolerance = 1e-5 if dtype == "float32" else 1e-12  # sums in another order
        assert float(composed(params, problem.data)) == pytest.approx(float(trace["loss"][0, -1]), rel=tolerance)
    assert composite.family in ("categorical", "bernoulli", "gaussian")
    assert len(jax.tree.leaves(problem.validation)[0]) > 0


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(
            name, "float64" if name.startswith("fashion") else "float32", marks=[pytest.mark.slow] * (name in TWINS)
        )
        for name in TINY
    ],
)
def test_in_the_other_precision_loss_and_gradient_keep_the_dtype(name, dtype, clothes):
    with precision(dtype):
        problem = tiny(name, clothes)
        params = jax.eval_shape(problem.init, jax.random.key(0))
        traced = jax.eval_shape(jax.value_and_grad(problem.full_loss), params)
    assert {leaf.dtype for leaf in jax.tree.leaves(traced)} == {jnp.dtype(dtype)}


@pytest.mark.parametrize("name", ["digits-mlp", "digits-convnet", "digits-resnet", "markov-transformer"])
def test_in_bfloat16_the_loss_is_float32_and_the_gradient_is_not(name, clothes):
    problem = tiny(name, clothes, dtype="bfloat16")
    params = jax.eval_shape(problem.init, jax.random.key(0))
    loss, gradient = jax.eval_shape(jax.value_and_grad(problem.full_loss), params)
    assert loss.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize(
    "name",
    ["digits-mlp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("digits-resnet", "markov-transformer"))],
)
def test_it_trains_in_bfloat16_with_a_loss_in_float32(name, clothes):
    problem = tiny(name, clothes, dtype="bfloat16")
    trace = training.run(problem, optax.sgd(0.05), steps=3, every=3, probes=probes_of(problem))
    require_trained(problem, trace, "bfloat16")
    assert trace["loss"].dtype == np.float32


def test_a_tanh_network_on_all_of_the_digits_has_the_known_size_and_no_validation():
    problem = lab.load_problem("digits-mlp", width=280, depth=2, activation="tanh", criterion="squared", fraction=1.0)
    assert vectors.size(jax.eval_shape(problem.init, jax.random.key(0))) == 99_690
    assert problem.num_examples == 1797
    assert problem.validation is None
    assert problem.composite.family == "gaussian"
    inputs = np.asarray(problem.data[0]).reshape(1797, 64)
    assert inputs.std(0).round(4).tolist().count(1.0) == 61
    assert (inputs.std(0) == 0).sum() == 3


def test_equal_options_share_one_compiled_program(clothes):
    one, other = (tiny("digits-mlp", clothes) for _ in range(2))
    assert one.loss.func == other.loss.func
    assert hash(one.loss.func) == hash(other.loss.func)
    assert one.loss.func != tiny("digits-mlp", clothes, activation="tanh").loss.func


@pytest.mark.parametrize("name", ["digits-linear", "diabetes-linear"])
def test_the_known_minimum_and_spectrum_are_those_of_the_dense_hessian(name, clothes):
    with precision("float64"):
        problem = tiny(name, clothes, **({"num_examples": 90} if name == "digits-linear" else {}))
        truth, minimizer = problem.truth, problem.truth.minimizer
        assert (
            float(vectors.norm(jax.grad(problem.full_loss)(minimizer))) < 1e-10
        )  # a stationary point of a convex loss
        assert float(problem.full_loss(minimizer)) == pytest.approx(truth.minimum, rel=1e-10)
        flat, back = jax.flatten_util.ravel_pytree(minimizer)
        if name == "diabetes-linear":
            dense = np.linalg.eigvalsh(jax.jit(jax.hessian(lambda vector: problem.full_loss(back(vector))))(flat))
            np.testing.assert_allclose(truth.eigenvalues, dense, rtol=1e-9)
        assert truth.eigenvalues.shape == flat.shape
        assert truth.smoothness == pytest.approx(float(truth.eigenvalues[-1]), rel=1e-12)


@pytest.mark.parametrize("name", ["tabular-logistic", "wine-softmax"])
def test_the_bound_on_the_curvature_holds_and_is_met_where_all_outputs_are_zero(name, clothes):
    with precision("float64"):
        problem = tiny(name, clothes)
        flat, back = jax.flatten_util.ravel_pytree(problem.init(jax.random.key(0)))
        hessian = jax.jit(jax.hessian(lambda vector: problem.full_loss(back(vector))))
        top = [
            float(np.linalg.eigvalsh(hessian(point))[-1]) for point in (flat, flat + 0.1 * np.cos(np.arange(len(flat))))
        ]
        assert max(top) <= problem.truth.smoothness * (1 + 1e-12)
        share = {"tabular-logistic": 1.0, "wine-softmax": 2 / 3}[name]  # p = 1/3 thrice: 1/3 of the 1/2 of the bound
        assert top[0] == pytest.approx(share * problem.truth.smoothness, rel=1e-10)


def test_the_true_markov_chain_has_no_excess_but_for_the_draw():
    problem = problems.load_problem("markov-transformer", num_examples=2000, vocabulary=5, length=20, width=8, depth=1)
    windows = lab.datasets.markov_text(2000, vocabulary=5, length=20)
    counts = np.zeros((5, 5))
    np.add.at(counts, (windows.training[:, :-1], windows.training[:, 1:]), 1)
    logits = jnp.asarray(np.log(counts / counts.sum(1, keepdims=True)))
    excess = problem.metrics["excess"].args, problem.metrics["excess"].func.function
    value = float(excess[1](lambda tokens: logits[tokens], problem.validation))
    assert abs(value) < 0.03  # 5 standard errors of 10000 words whose surprise varies by about half a nat


@pytest.fixture
def users(tmp_path, monkeypatch):
    """A user's module with functions that return a problem, something else, and one that fails to import."""
    (tmp_path / "bench_of_mine.py").write_text(
        "from jaxopt_lab import objectives\n"
        "def bowl(dim=3):\n    return objectives.quadratic([1.0] * dim)\n"
        "def number():\n    return 3\n"
    )
    (tmp_path / "bench_that_needs.py").write_text("import a_module_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("users")
def test_a_users_function_is_called_with_the_options():
    assert problems.load_problem("bench_of_mine:bowl", dim=5).init(jax.random.key(0)).shape == (5,)


@pytest.mark.usefixtures("users")
def test_a_users_file_is_as_good_as_its_module_and_its_own_sentence_stays(tmp_path):
    path = tmp_path / "bench_of_mine.py"
    assert problems.load_problem(f"{path}:bowl", dim=5).init(jax.random.key(0)).shape == (5,)
    (tmp_path / "bench_that_refuses.py").write_text(
        "from jaxopt_lab.core import fail\ndef bowl(): raise fail('bowl', 'the moon is wrong')\n"
    )
    with pytest.raises(InputError, match=r"^bowl: the moon is wrong"):
        problems.load_problem("bench_that_refuses:bowl")


def test_of_a_text_as_many_windows_are_kept_as_asked_and_its_digest_is_in_the_name(tmp_path):
    text = " ".join(map(str, range(300)))
    path = tmp_path / "text.txt"
    path.write_text(text)
    options = TINY["text-transformer"] | {"text": str(path), "num_examples": 5}
    found = problems.load_problem("text-transformer", **options)
    assert found.name == f"text-transformer-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    inputs, targets = map(np.asarray, found.data)
    np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])  # the next character
    windows = datasets.load_text(str(path), length=8).training.tolist()
    places = [windows.index([*row, last]) for row, last in zip(inputs.tolist(), targets[:, -1].tolist(), strict=True)]
    assert len(places) == 5
    assert places == sorted(places) != list(range(5))  # drawn at random, in the order of the text


@pytest.mark.usefixtures("users")
def test_a_users_own_missing_import_is_not_hidden():
    with pytest.raises(InputError, match="cannot be imported: ModuleNotFoundError: No module named 'a_module_that"):
        problems.load_problem("bench_that_needs:bowl")


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("digit-mlp", {}, r"load_problem: name must be one of: .*; got 'digit-mlp'. Did you mean 'digits-mlp'\?"),
        ("digits-mlp", {"widht": 3}, r"digits-mlp: an option must be one of: .*; got 'widht'. Did you mean 'width'\?"),
        ("digits-mlp", {"criterion": "square"}, r"criterion must be one of: .*; got 'square'. Did you mean 'squared'\?"),
        ("digits-mlp", {"scaling": "standard"}, r"kind must be one of: .*; got 'standard'. Did you mean 'standardize'\?"),
        ("digits-mlp", {"dtype": "float46"}, r"dtype must be one of: .*; got 'float46'. Did you mean 'float64'\?"),
        ("digits-mlp", {"dtype": "float64"}, r"float64 is switched off. Build and run the problem in `with precision"),
        ("digits-mlp", {"depth": 0}, r"MLP: depth must be a whole number of at least 1, got 0"),
        ("digits-mlp", {"fraction": 0.0}, r"digits-mlp: fraction must be in \(0, 1\], got 0.0"),
        ("digits-mlp", {"num_examples": 2000}, r"num_examples 2000 is more than the 1438 examples for training"),
        ("wine-softmax", {"fraction": 0.001}, r"fraction 0.001 of 178 examples leaves none for training"),
        ("text-transformer", {"length": 10**6}, r"a window needs 1000001. Take a smaller length or a longer text"),
        ("fashion-mlp", {"data_dir": "/nowhere"}, r"/nowhere: the folder holds no file .*dataset-fashion-mnist"),
        ("bench_of_yours:bowl", {}, r"there is no module 'bench_of_yours'. Name a file, or a module"),
        ("bench_of_mine:bow", {}, r"function of bench_of_mine must be one of: bowl, number; got 'bow'. Did you mean 'bowl'"),
        ("bench_of_mine:number", {}, r"bench_of_mine:number must return a Problem, got int. Make one with from_loss"),
    ],
)  # fmt: skip
def test_what_names_no_problem_gets_a_clear_sentence(name, options, message):
    with pytest.raises(InputError, match=message):
        problems.load_problem(name, **options)
