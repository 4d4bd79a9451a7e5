"""What holds for every estimator: on a mesh of either kind the same numbers, and nothing compiled when it is warm."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxopt_lab import curvature
from jaxopt_lab.core import precision
from jaxopt_lab.curvature.quadratures import gauss_quadrature_of

START = {"a": jnp.linspace(0.5, 1.5, 40).reshape(8, 5), "b": jnp.linspace(-1.0, 1.0, 8)}
PROBES = {"num_probes": 2, "num_steps": 6}


def pairs(operator, key, **options):
    return curvature.eigenpairs(operator, 2, 1, key=key, **options)


ESTIMATORS = {
    "eigenpairs": lambda operator, key: pairs(operator, key).largest.values,
    "restarted": lambda operator, key: pairs(operator, key, max_vectors=20).smallest.values,
    "condition_number": lambda operator, key: curvature.condition_number(operator, key=key).positive.interval,
    "trace": lambda operator, key: curvature.trace(operator, num_products=12, key=key).value,
    "whole_trace": lambda operator, key: curvature.trace(operator, num_products=60, key=key).value,
    "frobenius": lambda operator, key: curvature.frobenius(operator, num_products=12, key=key).interval,
    "density": lambda operator, key: curvature.spectral_density(operator, key=key, **PROBES).values,
    **{
        f"density, basis {basis}": lambda operator, key, basis=basis: curvature.spectral_density(
            operator, key=key, basis=basis, **PROBES
        ).values
        for basis in ("bfloat16", "host", "none")
    },
    "index": lambda operator, key: curvature.index(operator, key=key, **PROBES).negative.interval,
    "log_determinant": lambda operator, key: curvature.log_determinant(operator, lower=0.5, key=key, **PROBES).interval,
    "quadrature": lambda operator, key: gauss_quadrature_of(operator, placed(START, operator), 6, key).rule,
    "negative_curvature": lambda operator, key: curvature.negative_curvature(
        operator, gradient=placed(START, operator), key=key
    ).slope,
    "alignment": lambda operator, key: curvature.gradient_alignment(
        placed(START, operator), pairs(operator, key).largest
    ).shares,
    "preconditioned": lambda operator, key: curvature.trace(
        curvature.preconditioned(operator, jax.tree.map(lambda leaf: leaf**2 + 1, placed(START, operator))),
        num_products=12, key=key,
    ).value,
    "track": lambda operator, key: [found.values for found in curvature.track(lambda _: operator, [(0, 0), (1, 1)])],
}  # fmt: skip
MESHES = [None, AxisType.Auto, AxisType.Explicit]


def placed(tree, operator):
    """The tree in the operator's dtypes, where its vectors lie."""
    return jax.tree.map(lambda leaf, like: jax.device_put(leaf.astype(like.dtype), like.sharding), tree, operator.like)


def make_operator(kind):
    """A diagonal of 48 eigenvalues in [1, 3], on one device or on four."""
    diagonal = {"a": jnp.linspace(1.0, 2.0, 40).reshape(8, 5), "b": jnp.linspace(2.0, 3.0, 8)}
    if kind is not None:
        mesh = jax.make_mesh((4,), ("shard",), axis_types=(kind,))
        diagonal = jax.device_put(diagonal, NamedSharding(mesh, PartitionSpec("shard")))
    return curvature.from_diagonal(diagonal)


@contextlib.contextmanager
def programs_compiled():
    """A list that fills with the names of the programs that are compiled meanwhile."""
    names = []

    def listen(event, seconds, **facts):
        if event.endswith("backend_compile_duration"):
            names.append(facts.get("fun_name"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture(params=ESTIMATORS)
def estimate(request):
    return ESTIMATORS[request.param]


@pytest.mark.skipif(jax.device_count() < 4, reason="needs four devices")
def test_meshes_of_both_kinds_give_the_numbers_of_one_device(estimate):
    with precision():
        alone, *spread = (estimate(make_operator(kind), jax.random.key(1)) for kind in MESHES)
        for found in spread:
            # Rounding of float64 alone moves numbers that have converged to 1e-5, by its square; all others by 1e-13.
            jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-8), found, alone)


@pytest.mark.skipif(jax.device_count() < 4, reason="needs four devices")
@pytest.mark.parametrize("kind", MESHES)
def test_a_warm_estimator_compiles_nothing(estimate, kind):
    operator = make_operator(kind)
    estimate(operator, jax.random.key(1))
    with programs_compiled() as names:
        estimate(operator, jax.random.key(1))
    assert names == []
