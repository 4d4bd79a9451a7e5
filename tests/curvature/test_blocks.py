"""Block spectra against dense blocks; heterogeneity between its two ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import InputError
from jaxopt_lab.curvature import block_spectra, from_diagonal, from_matrix
from jaxopt_lab.curvature.blocks import block_names, heterogeneity
from jaxopt_lab.curvature.quadratures import gauss_quadratures

PARAMS = {"layers": {"0": {"w": jnp.full((3, 4), 0.3), "b": jnp.zeros(4)}, "1": {"w": jnp.full((4, 2), -0.2)}}}
INPUTS = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)


def network(params, batch, key):
    del key
    layers = params["layers"]
    hidden = jnp.tanh(batch @ layers["0"]["w"] * jnp.arange(1.0, 5.0) + layers["0"]["b"])
    return jnp.mean(jnp.sum((hidden @ layers["1"]["w"] - 1) ** 2, -1))


def problem() -> lab.Problem:
    return lab.from_loss(network, PARAMS, INPUTS)


def dense_block(layer: str) -> np.ndarray:
    """The diagonal block of the dense Hessian that belongs to one layer."""
    flat, unravel = jax.flatten_util.ravel_pytree(PARAMS["layers"][layer])

    def loss(vector):
        return network({"layers": PARAMS["layers"] | {layer: unravel(vector)}}, INPUTS, None)

    return np.asarray(jax.jit(jax.hessian(loss))(flat), np.float64)


def test_each_block_is_that_of_the_dense_hessian():
    found = block_spectra(problem(), PARAMS)
    assert [block.name for block in found.blocks] == ["layers/0", "layers/1"]
    for block in found.blocks:
        dense = dense_block(block.name[-1])
        assert block.size == len(dense)
        assert block.largest.value == pytest.approx(np.linalg.eigvalsh(dense)[-1], rel=1e-3)
        assert block.trace.value == pytest.approx(np.trace(dense), rel=1e-4)  # d products: exact up to rounding
        assert block.density.axis == "log"
    assert 0 < found.heterogeneity.value < 1
    assert found.products == found.heterogeneity.cost + sum(b.largest.cost + b.trace.cost for b in found.blocks)


def test_blocks_may_be_named_or_cut_at_a_depth():
    named = block_spectra(problem(), PARAMS, blocks=["layers/1"], num_probes=2)
    assert [block.name for block in named.blocks] == ["layers/1"]
    assert named.heterogeneity.value == 0
    assert block_names(PARAMS, depth=1) == ["layers"]
    assert block_names(PARAMS, depth=3) == ["layers/0/b", "layers/0/w", "layers/1/w"]
    assert block_names(jnp.ones(3)) == [""]
    mixed = {"a": {"scale": 0, "b": {"w": 1, "v": 2}}, "c": [3, 4]}
    assert block_names(mixed) == ["a/b", "a/scale", "c"]


def test_a_bare_array_is_one_block():
    bowl = lab.from_loss(lambda w, batch, key: jnp.sum(w**2), jnp.ones(3))
    (block,) = block_spectra(bowl, jnp.ones(3)).blocks
    assert (block.name, block.size) == ("", 3)
    assert block.trace.value == pytest.approx(6, rel=1e-6)


def rotated(eigenvalues, seed: int) -> jax.Array:
    noise = np.random.default_rng(seed).normal(size=(len(eigenvalues), len(eigenvalues)))
    basis = np.linalg.qr(noise)[0]
    matrix = (basis * eigenvalues) @ basis.T
    return jnp.asarray((matrix + matrix.T) / 2, jnp.float32)


class Exact:
    """A rule with all eigenvalues of a matrix, of equal weight."""

    products = 0

    def __init__(self, matrix) -> None:
        values = np.linalg.eigvalsh(np.asarray(matrix, np.float64))
        self.rule = (values, np.full(len(values), 1 / len(values)))


def rules_of(diagonal, num_probes: int = 3):
    return gauss_quadratures(from_diagonal(jnp.asarray(diagonal, jnp.float32)), num_probes, 20, jax.random.key(0))


def test_heterogeneity_runs_from_equal_to_disjoint_spectra():
    one, far, below = np.linspace(1, 2, 16), np.linspace(1e-5, 2e-5, 16), -np.linspace(1, 2, 16)
    assert heterogeneity([rules_of(one), rules_of(one)]).value == pytest.approx(0, abs=1e-6)
    assert heterogeneity([rules_of(one), rules_of(far)]).value == pytest.approx(1, abs=1e-6)
    assert heterogeneity([rules_of(one), rules_of(below)]).value == pytest.approx(1, abs=1e-6)
    # two of three pairs are disjoint
    assert heterogeneity([rules_of(one), rules_of(one), rules_of(far)]).value == pytest.approx(2 / 3, abs=1e-6)
    assert heterogeneity([rules_of(np.zeros(4)), rules_of(np.zeros(9))]).value == 0


def test_heterogeneity_is_that_of_the_known_shares():
    half = np.concatenate([np.full(8, 1.0), np.full(8, 1e-4)])
    estimate = heterogeneity([rules_of(half), rules_of(np.ones(16))])
    # shares (1/2, 1/2) and (1, 0): divergence H(3/4, 1/4) - H(1/2, 1/2) / 2 in bits
    exact = np.sqrt(-0.75 * np.log2(0.75) - 0.25 * np.log2(0.25) - 0.5)
    assert estimate.value == pytest.approx(exact, abs=1e-6)  # signs on a diagonal have no variance


def test_the_interval_of_heterogeneity_is_that_of_its_probes():
    matrices = [rotated(np.geomspace(1e-3, 1, 24), 0), rotated(np.geomspace(1e-2, 10, 24), 1)]
    exact = [Exact(matrix) for matrix in matrices]
    truth = heterogeneity([[rule, rule] for rule in exact]).value
    few, many = (
        heterogeneity([gauss_quadratures(from_matrix(m), num, 20, jax.random.key(0)) for m in matrices])
        for num in (4, 16)
    )
    assert many.interval[0] <= truth <= many.interval[1]
    assert many.standard_error < few.standard_error


def test_sharded_blocks():
    mesh = jax.make_mesh((4,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    params = {"a": jax.device_put(jnp.ones(4), place), "b": jnp.ones(2, jnp.bfloat16)}
    loss = lab.from_loss(lambda w, batch, key: jnp.sum(w["a"] ** 2) + jnp.sum(w["b"] ** 4), params)
    found = block_spectra(loss, params, num_probes=2)
    assert [block.trace.value for block in found.blocks] == pytest.approx([8, 24], rel=1e-5)


def test_wrong_arguments_are_refused():
    with pytest.raises(InputError, match="blocks must name at least one block, each once"):
        block_spectra(problem(), PARAMS, blocks=["layers/0", "layers/0"])
    with pytest.raises(InputError, match="Did you mean 'layers/1'"):
        block_spectra(problem(), PARAMS, blocks=["layer/1"])
    with pytest.raises(InputError, match="block_spectra: num_probes must be a whole number of at least 2, got 1"):
        block_spectra(problem(), PARAMS, num_probes=1)
    with pytest.raises(InputError, match="block_names: depth must be a whole number of at least 1, got 0"):
        block_names(PARAMS, depth=0)
    with pytest.raises(InputError, match="heterogeneity: width must be positive and finite, got 0"):
        heterogeneity([], width=0)
