import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import search


def nearest(points, optimum):
    """Distances to the nearest point, for points [searches, trials] and optima [searches]."""
    return np.abs(points - optimum[:, None]).min(1)


@pytest.mark.parametrize(("cells", "width"), [(10, 0.05), (4, 0.05), (4, 0.2), (3, 0.3)])
def test_a_grid_hits_an_interval_as_often_as_said(cells, width):
    starts = (np.arange(200_000) + 0.5) / 200_000 * (1 - width)
    values = (np.arange(cells) + 0.5) / cells
    hit = ((values >= starts[:, None]) & (values <= starts[:, None] + width)).any(1)
    np.testing.assert_allclose(search.grid_hit_probability(cells, width), hit.mean(), atol=1e-4)  # of so many starts


def test_random_trials_hit_as_often_as_said():
    rng = np.random.default_rng(0)
    for trials, share, published in ((100, 0.05, 0.9941), (64, 1 / 64, 0.635), (100, 0.01, 0.634)):
        hit = (rng.random((20_000, trials)) < share).any(1)
        law = search.random_hit_probability(trials, share)
        assert abs(hit.mean() - law) < 4 * np.sqrt(law * (1 - law) / 20_000)
        np.testing.assert_allclose(law, published, atol=1e-3)  # its digits
    np.testing.assert_allclose(search.random_hit_probability(search.trials_to_hit(0.95, 0.05), 0.05), 0.95)


def test_distances_are_those_of_drawn_points():
    rng = np.random.default_rng(0)
    optimum = rng.random(40_000)
    for trials in (1, 2, 8):
        drawn = rng.random((40_000, trials))
        cells = np.broadcast_to(np.arange(trials), drawn.shape)
        for points, law in (
            (drawn, search.random_search_distance(trials)),
            ((cells + drawn) / trials, search.stratified_search_distance(trials)),
            ((cells + 0.5) / trials, search.grid_search_distance(trials)),
        ):
            found = nearest(points, optimum)
            assert abs(found.mean() - law) < 4 * found.std() / 200
    ratios = search.grid_search_distance([10, 4, 10]) / search.random_search_distance([100, 64, 1000])
    np.testing.assert_allclose(ratios, [5.0, 8.0, 50.0], rtol=1e-3)  # N^(1 - 1 / D) / 2, to leading order


def test_the_best_of_many_has_the_rank_said():
    best = np.random.default_rng(0).random((20_000, 9)).max(1)
    assert abs(best.mean() - search.expected_best_rank(9)) < 4 * best.std() / np.sqrt(20_000)


@pytest.mark.parametrize("trials", [2, 5, 8])
def test_the_optimum_lies_between_the_neighbours_of_the_best(trials):
    optimum, low, high = np.random.default_rng(0).random(2000), np.zeros(2000), np.ones(2000)
    for _ in range(3):
        points = low[:, None] + (high - low)[:, None] * np.arange(1, trials + 1) / (trials + 1)
        best = np.take_along_axis(points, np.abs(points - optimum[:, None]).argmin(1)[:, None], 1)[:, 0]
        half = (high - low) / (trials + 1)
        low, high = best - half, best + half
    assert ((low <= optimum) & (optimum <= high)).all()
    np.testing.assert_allclose(high - low, search.coarse_to_fine_width(trials, 3))


@pytest.mark.parametrize("correlation", [0.99, -0.5])
def test_a_sweep_of_exact_line_searches_shrinks_by_the_square(correlation):
    first, second = 1.0, 1.0
    for sweep in range(5):
        first = -correlation * second
        second = -correlation * first
        np.testing.assert_allclose(second, search.block_coordinate_factor(correlation) ** (sweep + 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: search.random_hit_probability(0, 0.1), "random_hit_probability: trials must be in .*got 0"),
        (lambda: search.grid_hit_probability(4, 1.0), r"width must be in \(0, 1\), got 1"),
        (lambda: search.trials_to_hit(1.0, 0.1), r"probability must be in \(0, 1\), got 1"),
        (lambda: search.block_coordinate_factor(1.0), r"correlation must be in \(-1, 1\), got 1"),
        (lambda: search.coarse_to_fine_width(8, -1), "stages must be in"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("trials", [2, 8, 30])
def test_a_first_box_misses_as_often_as_random_trials_do(trials):
    rng, num, half = np.random.default_rng(0), 20_000, 1 / (trials + 1)
    points, optima = rng.random((num, trials)), rng.random(num)
    missed = np.abs(points - optima[:, None]).min(1) > half
    chance = float(search.first_box_misses(trials))
    assert missed.mean() == pytest.approx(chance, abs=4 * np.sqrt(chance * (1 - chance) / num))


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_the_accurate_share_is_that_of_random_settings(dim):
    errors = np.random.default_rng(0).random((200_000, dim)) - 0.5
    found = np.mean(np.square(errors).mean(1) <= 0.15**2)
    # 4 standard errors of a share of 200,000
    assert search.accurate_share(dim, 0.15) == pytest.approx(found, abs=4 * np.sqrt(found / 200_000))


def test_a_ball_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"tolerance sqrt\(dim\) must be at most 1/2, got 0.6. The ball must lie"):
        search.accurate_share(9, 0.2)
