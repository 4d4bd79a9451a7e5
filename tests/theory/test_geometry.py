import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import geometry


def test_the_worst_angle_is_that_of_the_two_end_modes():
    for kappa in (1.0, 7.0, 100.0, 1e4):
        ends, start = np.array([1.0, kappa]), np.array([np.sqrt(kappa), 1.0])
        cosine = start @ (ends * start) / (np.linalg.norm(start) * np.linalg.norm(ends * start))
        # Kantorovich's worst point weighs the two modes as sqrt(kappa) to 1.
        assert geometry.worst_gradient_cosine(kappa) == pytest.approx(cosine, rel=1e-13)
        angles = np.linspace(0, np.pi / 2, 2001)
        points = np.stack([np.cos(angles), np.sin(angles)], 1)
        cosines = np.sum(points * ends * points, 1) / np.linalg.norm(ends * points, axis=1)
        assert cosines.min() >= geometry.worst_gradient_cosine(kappa) - 1e-14


def test_the_typical_angle_is_that_of_random_points():
    rng = np.random.default_rng(0)
    for kappa in (100.0, 1e4):
        eigenvalues = np.geomspace(1, kappa, 100001)
        points = rng.standard_normal(100001)
        cosine = points @ (eigenvalues * points) / np.linalg.norm(points) / np.linalg.norm(eigenvalues * points)
        typical = geometry.typical_gradient_cosine(eigenvalues)
        assert cosine == pytest.approx(typical, abs=0.01)  # O(1 / sqrt(d tr-ratio)) ~ .003, three of them
        assert geometry.log_uniform_gradient_cosine(kappa) == pytest.approx(typical, rel=1e-4)  # grid ends


def test_the_angles_are_the_published_ones():
    kappa = np.array([1e2, 1e4])
    np.testing.assert_allclose(geometry.worst_gradient_cosine(kappa), [0.19802, 0.0199980], atol=5e-6)
    np.testing.assert_allclose(geometry.log_uniform_gradient_cosine(kappa), [0.6525, 0.4659], atol=5e-5)


def test_a_perfectly_conditioned_problem_has_no_angle():
    assert geometry.worst_gradient_cosine(1.0) == 1
    assert geometry.log_uniform_gradient_cosine(1.0) == 1
    assert geometry.typical_gradient_cosine(np.full(5, 3.0)) == pytest.approx(1, rel=1e-15)
    assert geometry.line_search_loss_ratio(1.0) == 0
    assert geometry.log_uniform_gradient_cosine(1 + 1e-9) == pytest.approx(1, rel=1e-15)


def test_exact_line_search_meets_its_worst_ratio_on_two_modes():
    hessian, x = np.array([1.0, 50.0]), np.array([50.0, 1.0])
    for _ in range(20):
        gradient = hessian * x
        following = x - (gradient @ gradient) / (gradient @ (hessian * gradient)) * gradient
        ratio = (following @ (hessian * following)) / (x @ (hessian * x))
        assert ratio == pytest.approx(geometry.line_search_loss_ratio(50.0), rel=1e-10)
        x = following


@pytest.mark.parametrize(("factor", "sign"), [(0.999, 1.0), (1.001, -1.0)])
def test_successive_steps_turn_at_the_threshold(factor, sign):
    eigenvalues, x = np.geomspace(1, 100, 20), np.ones(20)
    rate = factor * geometry.zig_zag_threshold(100.0, 1.0)
    for _ in range(20000):
        step = rate * eigenvalues * x
        x = x - step
        following = rate * eigenvalues * x
        cosine = step @ following / np.linalg.norm(step) / np.linalg.norm(following)
        x = x / np.linalg.norm(x)
    assert cosine == pytest.approx(sign, abs=1e-9)  # the other end has decayed by (1.001)^-20000


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match=r"^typical_gradient_cosine: eigenvalues must not all be zero. A flat l"):
        geometry.typical_gradient_cosine([0.0, 0.0])
    with pytest.raises(InputError, match=r"^worst_gradient_cosine: kappa must be in \[1, inf\), got nan"):
        geometry.worst_gradient_cosine(np.nan)
