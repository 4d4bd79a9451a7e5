"""Odd operators: what is certified of them is true, or they are refused in one sentence."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from jaxopt_lab import curvature
from tests.fuzz import REFUSED, cases, tried

SIZE = 8
EIGENVALUES = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 1e-30, 1e-6, 1e6, 1e30, -1e6, 3e38, float("nan"), float("inf")]),
    st.floats(-1e3, 1e3, width=32),
)
SPECTRA = st.one_of(
    st.lists(EIGENVALUES, min_size=SIZE, max_size=SIZE),
    EIGENVALUES.map(lambda value: [value] * SIZE),
    EIGENVALUES.map(lambda value: [0.0] * (SIZE - 1) + [value]),
)
FAULTS = st.sampled_from(["none"] * 5 + ["asymmetric", "affine", "another each time", "raises"])


def multiply(matrix, vector):
    return jnp.matmul(matrix, vector, precision="highest")


def multiply_and_add(matrix, vector):
    return multiply(matrix, vector) + 1e-3 * jnp.linalg.norm(matrix)


def operator_of(spectrum, fault, seed):
    """The operator, and the eigenvalues of the matrix that it multiplies with, or None for none."""
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(SIZE, SIZE)))[0]
    with np.errstate(all="ignore"):
        matrix = ((turn * np.asarray(spectrum)) @ turn.T).astype(np.float32)
        matrix = (matrix + matrix.T) / 2
    if fault == "asymmetric":
        matrix[0, 1] += max(1.0, np.abs(np.nan_to_num(matrix)).max() / 2)
    truth = np.linalg.eigvalsh(matrix.astype(np.float64)) if np.isfinite(matrix).all() and fault == "none" else None
    stored = jnp.asarray(matrix)
    if fault == "affine":
        product = jax.tree_util.Partial(multiply_and_add, stored)
    elif fault == "another each time":
        draws = np.random.default_rng(seed)
        product = lambda vector: multiply(stored * draws.uniform(0.5, 1), vector)  # noqa: E731
    elif fault == "raises":
        product = lambda vector: [][0]  # noqa: E731
    else:
        product = jax.tree_util.Partial(multiply, stored)
    return curvature.operator(product, jnp.zeros(SIZE)), truth


def certified(spectrum, fault, seed, num_largest, num_smallest):
    operator, truth = operator_of(spectrum, fault, seed)
    if fault == "raises":  # a user's own exception is the user's to see
        return
    ends = tried(curvature.eigenpairs, operator, num_largest, num_smallest)
    estimate = tried(curvature.trace, operator)
    kappa = tried(curvature.condition_number, operator)
    if truth is None:
        # A zero matrix is the same whatever it is multiplied with.
        assert ends is estimate is kappa is REFUSED or not np.any(spectrum)
        return
    size, flushed = np.abs(truth).max(), SIZE * np.finfo(np.float32).tiny  # compiled code takes subnormals for zero
    if ends is not REFUSED:
        for side, expected in ((ends.largest, truth[::-1]), (ends.smallest, truth)):
            gaps = np.abs(side.values - expected[: len(side.values)])
            assert (gaps <= side.errors + 1e-12 * size + flushed).all(), (side, expected)
    if estimate is not REFUSED:
        slack = 1e-6 * size + flushed
        assert estimate.interval[0] - slack <= truth.sum() <= estimate.interval[1] + slack
    if kappa is not REFUSED and np.abs(truth).min() > 1e-4 * size + flushed:
        low, high = kappa.absolute.interval
        assert low * (1 - 1e-6) <= np.abs(truth).max() / np.abs(truth).min() <= high * (1 + 1e-6)


COUNTS = st.integers(0, 3)
test_what_is_certified_is_true, test_much_that_is_certified_is_true = cases(
    40, certified, spectrum=SPECTRA, fault=FAULTS, seed=st.integers(0, 3), num_largest=COUNTS, num_smallest=COUNTS
)
