import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import objectives
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.objectives.octopus import octopus_losses, octopus_saddle

SMOOTH, CURVE, TAU = 1.3, 0.6, 0.8


@pytest.fixture(scope="module")
def problem():
    with precision():
        return objectives.octopus(4, smoothness=SMOOTH, curvature=CURVE, scale=TAU)


@pytest.fixture(scope="module")
def derivatives(problem):
    """Points [n, 4], n <= 64 -> losses, gradients and Hessians there; one program for all tests."""
    loss = problem.full_loss
    program = jax.jit(jax.vmap(lambda x: (*jax.value_and_grad(loss)(x), jax.hessian(loss)(x))))

    def at(points):
        with precision():
            padded = jnp.asarray(np.concatenate([points, np.zeros((64 - len(points), 4))]))
            return tuple(np.asarray(array)[: len(points)] for array in program(padded))

    return at


def published(x, place):
    """The equations of the paper for x_1 .. beyond 2 tau, coordinate `place` on its way, the others within tau."""
    behind, here, after = np.abs(x[:place]), abs(x[place]), x[place + 1 :]
    offset = place * (37 * SMOOTH + 13 * CURVE) * TAU**2 / 6
    loss = SMOOTH * np.sum((behind - 4 * TAU) ** 2) - CURVE * here**2 - offset
    if here <= TAU:
        return loss + SMOOTH * np.sum(after**2)
    u, t = here - 2 * TAU, here - TAU
    loss += (10 * CURVE - 14 * SMOOTH) * t**3 / (3 * TAU) + (5 * SMOOTH - 3 * CURVE) * t**4 / (2 * TAU**2)
    quintic = 10 * u**3 / TAU**3 + 15 * u**4 / TAU**4 + 6 * u**5 / TAU**5
    return loss + (-CURVE - (SMOOTH + CURVE) * quintic) * np.sum(after[:1] ** 2) + SMOOTH * np.sum(after[1:] ** 2)


def test_on_the_domain_of_the_paper_it_is_the_equations_of_the_paper(derivatives):
    rng = np.random.default_rng(0)
    points, expected = [], []
    for place in (0, 1, 3):
        for low, high in ((0, TAU), (TAU, 2 * TAU)):
            x = np.concatenate([
                rng.uniform(2 * TAU, 6 * TAU, place), rng.uniform(low, high, 1), rng.uniform(0, TAU, 3 - place),
            ])  # fmt: skip
            points.append(x * rng.choice([-1, 1], 4))
            expected.append(published(points[-1], place))
    np.testing.assert_allclose(derivatives(np.array(points))[0], expected, rtol=1e-13)


def test_loss_gradient_and_hessian_are_continuous_across_every_border(derivatives):
    rng = np.random.default_rng(1)
    points = rng.uniform(-6 * TAU, 6 * TAU, (24, 4))  # all over the cube, far from the paper's domain too
    rows = np.arange(24)
    points[rows, rows % 4] = np.tile([TAU, -TAU, 2 * TAU, -2 * TAU, 0.0, 4 * TAU], 4)
    side = np.zeros_like(points)
    side[rows, rows % 4] = 1e-9
    before, after = derivatives(points - side), derivatives(points + side)
    for left, right, atol in zip(before, after, (1e-6, 1e-6, 1e-5), strict=True):  # the next derivative times 2e-9
        np.testing.assert_allclose(left, right, atol=atol)


def test_the_saddles_are_where_and_what_they_are_said_to_be(problem, derivatives):
    saddles = np.array([octopus_saddle(4, passed, scale=TAU) for passed in range(5)], float)
    saddles[saddles > 0] = 4 * TAU  # float32 without `precision`
    losses, gradients, hessians = derivatives(saddles)
    values = np.linalg.eigvalsh(hessians)
    np.testing.assert_allclose(gradients, 0.0, atol=1e-12)
    expected = octopus_losses(4, smoothness=SMOOTH, curvature=CURVE, scale=TAU)
    np.testing.assert_allclose(losses, expected, atol=1e-12)
    np.testing.assert_allclose(values[:4], np.tile([-2 * CURVE] + 3 * [2 * SMOOTH], (4, 1)), atol=1e-12)
    np.testing.assert_allclose(values[4], 2 * SMOOTH, atol=1e-12)
    assert problem.truth.minimum == pytest.approx(expected[-1])


def test_between_the_borders_every_force_points_outwards(derivatives):
    rng = np.random.default_rng(2)
    for place in range(4):
        points = rng.uniform(-3 * TAU, 3 * TAU, (60, 4))
        points[:, :place] = rng.choice([-1, 1], (60, place)) * rng.uniform(2.01, 6, (60, place)) * TAU
        points[:, place] = rng.choice([-1, 1], 60) * rng.uniform(1.01, 1.99, 60) * TAU
        assert (derivatives(points)[1][:, place] * np.sign(points[:, place]) < 0).all()


def test_a_rotation_moves_the_chain_and_counts_its_saddles_as_before():
    with precision():
        plain = objectives.octopus(4, scale=TAU)
        turned = objectives.octopus(4, scale=TAU, rotation="hadamard")
        starts = [problem.init(jax.random.key(0)) for problem in (plain, turned)]
        assert float(turned.full_loss(starts[1])) == pytest.approx(float(plain.full_loss(starts[0])), rel=1e-12)
        assert float(turned.full_loss(turned.truth.minimizer)) == pytest.approx(plain.truth.minimum, rel=1e-12)
        assert float(turned.metrics["passed"](turned.truth.minimizer, None)) == 4
        assert float(plain.metrics["passed"](octopus_saddle(4, 2, scale=TAU), None)) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: objectives.octopus(3, start=0.0), "start is the first saddle itself"),
        (lambda: objectives.octopus(0), "dim must be a whole number of at least 1, got 0"),
        (lambda: objectives.octopus(3, curvature=0.0), "Without it there is no way out of a saddle"),
        (lambda: objectives.octopus(3, scale=-1.0), "scale must be positive and finite"),
        (lambda: objectives.octopus(3, rotation="hadamard"), "needs a power of two as dim, got 3"),
        (lambda: objectives.octopus(3, rotation="wavelet"), "rotation must be one of: None, hadamard"),
        (lambda: octopus_saddle(3, 4), "passed must be between 0 and dim = 3, got 4"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
