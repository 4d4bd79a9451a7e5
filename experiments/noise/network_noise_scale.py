"""How does the batch size that is worth its cost change while a network trains?

What the lecture says: a minibatch gives "some noisy estimate of the gradient".

What is true: early a few examples tell the direction, late it takes thousands: the gradient shrinks faster than its
noise, and the noise scale grows by orders of magnitude as the loss falls. At any point where a step sees a quadratic,
the best step on B examples gains 1 / (1 + B_noise / B) of what the best step on all of them gains.

The points lie on a run of SGD. Batches are drawn with replacement from the training examples, so that these are the
population: |G|^2 and tr S are exact, and tr(H S) is an estimate of its interval. (At points of full-batch descent the
gradient keeps only flat directions: there B_noise is 10 to 100 times B_simple, and no quadratic reaches as far as the
step; the two agree on a path that has noise itself.) Beside them stand the estimates from 32 groups of drawn examples.

Source: McCandlish, Kaplan, Amodei 2018, arXiv 1812.06162, equations 2.6 to 2.9 and figure 5.
"""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxopt_lab import curvature, problems, rules, theory, training
from jaxopt_lab.core import Problem, Verdict, mean_of_samples
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Count, Increasing, MultipleOf, Positive, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import at_least, at_most

REFERENCE = "McCandlish et al. 2018, arXiv 1812.06162"
CHUNK = 2048
QUADRATIC = 0.1
SPREAD = 10.0
FROM_ZERO = Increasing("be two or more, increasing, from 0", first=0)


@configclass
class Config:
    """All that can change a number."""

    width: Count = 32
    """Units in each of the two hidden layers (ReLU, no normalization; pixels in [0, 1])."""
    learning_rate: Positive = 0.1
    """Of the run of SGD, per step."""
    batch_size: Count = 32
    """Of the run of SGD, examples."""
    times: Annotated[tuple[int, ...], FROM_ZERO] = (0, 10, 30, 100, 300, 1000, 3000, 10_000)
    """Where it is measured, steps, increasing; the first is 0."""
    shares: tuple[Positive, ...] = (0.125, 1.0, 8.0)
    """Batch sizes whose step is measured, in units of the noise scale."""
    num_batches: Annotated[int, Whole(20)] = 200
    """Batches for each gain, a count."""
    num_drawn: Annotated[int, MultipleOf(CHUNK)] = 65_536
    """Examples drawn with replacement for the estimates from groups, a multiple of 2048."""
    num_products: Annotated[int, Whole(4)] = 45
    """Hessian products for tr(H S)."""
    seed: Seed = 0
    """Seeds the parameters and every draw."""


TIMES = (0, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000)
PRESETS = {
    "quick": Config(),
    "full": Config(width=64, times=TIMES, num_batches=1000, num_drawn=2**19, num_products=90),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a time of the run, then one a time and batch size."""
    network = problems.load_problem("digits-mlp", width=config.width, activation="relu", scaling="raw", fraction=1.0)
    params, done, rows, steps = network.init(jax.random.key(config.seed)), 0, [], []
    for time in config.times:
        if time > done:
            trace = training.run(
                network, rules.sgd, {"learning_rate": config.learning_rate}, steps=time - done, every=time - done,
                params=params, batch_size=config.batch_size, seeds=config.seed + done,
            )  # fmt: skip
            params, done = trace.params_of(), time
        row, gains = _measure(config, network, params)
        rows.append({"step": time} | row)
        steps += [{"at_step": time} | gain for gain in gains]
    return rows + steps


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """How far the noise scale grows; whether its two forms and its estimates agree; the gains that it predicts."""
    points, valid = rows.having("simple"), _valid(rows)
    simple, low, high = points["simple"], points["simple_low"], points["simple_high"]
    ranks = np.argsort(np.argsort(np.array([simple, -points["loss"]])))
    return [
        at_least("The noise scale grows by orders of magnitude while the network trains",
                 "largest B_simple over that of the first point", 100.0, simple.max() / simple[0],
                 reference=REFERENCE),
        at_least("It is larger the lower the loss", "rank correlation of B_simple with minus the loss", 0.8,
                 float(np.corrcoef(ranks)[0, 1]), reference=REFERENCE),
        at_most("B_noise and B_simple are of one size", "largest factor between the two", SPREAD,
                float(np.exp(np.abs(np.log(points["curved"] / simple)).max())), reference=REFERENCE),
        at_most("The best step on B examples gains 1 / (1 + B_noise / B) of the best step on all",
                "largest difference over what four standard errors and the quadratic's error allow,"
                f" {len(valid)} steps",
                1.0, max(abs(row["gain"] - row["predicted_gain"]) / _allowed(row) for row in valid),
                reference=REFERENCE),
        # An interval of 95 % misses one time in 20: of 8, two or more misses come one time in 17.
        at_least("The estimate from groups of examples brackets the exact noise scale", "share of the intervals",
                 1 - 1.5 / len(points), float(np.mean((low <= simple) & (simple <= high))), reference="Fieller 1954"),
    ]  # fmt: skip


def _allowed(row: Row) -> float:
    """Four standard errors of the gain and of the prediction, and the quadratic's own error, which is known."""
    share = row["predicted_gain"]
    of_scale = share * (1 - share) * row["curved_error"] / row["curved"]
    return 4 * float(np.hypot(row["gain_error"], of_scale)) + row["departure"] * share


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Above: noise scales against the loss. Below: the gain of a step against B over B_noise."""
    figure, (above, below) = maker.axes(2, 1, height=7.0)
    points = rows.having("simple")
    above.plot(points["loss"], points["simple"], color=maker.color(0), linewidth=1, alpha=0.4)
    above.vlines(points["loss"], points["simple_low"], np.minimum(points["simple_high"], 1e5), color=maker.color(0),
                 linewidth=1)  # fmt: skip
    maker.measured(above, points["loss"], points["simple"], label="B_simple", markersize=7)
    maker.measured(above, points["loss"], points["curved"], color=1, label="B_noise", markersize=7, marker="s")
    above.set(xscale="log", yscale="log", xlabel="training loss, falling", ylabel="noise scale, examples",
              title="The batch that is worth its cost grows as the loss falls")  # fmt: skip
    above.invert_xaxis()
    shares = np.geomspace(config.shares[0] / 2, 2 * config.shares[-1], 200)
    maker.predicted(below, shares, 1 / (1 + 1 / shares))
    valid, bent = _valid(rows), rows.having("gain").where(departure=lambda departure: departure > QUADRATIC)
    x = valid["batch_size"] / valid["curved"]
    maker.measured(below, x, valid["gain"], markersize=7)
    below.errorbar(x, valid["gain"], yerr=4 * valid["gain_error"], fmt="none", ecolor=maker.color(0))
    rings = {"markerfacecolor": "none", "markeredgecolor": maker.color(6), "markeredgewidth": 1}
    if bent:
        maker.measured(below, bent["batch_size"] / bent["curved"], bent["gain"], color=6, markersize=7, **rings)
    below.set(xscale="log", ylim=(0, 1.1), xlabel="batch size over B_noise", ylabel="gain over the full step's",
              title="Line predicted; rings where no quadratic holds")  # fmt: skip
    return figure


def caption(config: Config, rows: Rows) -> str:
    points, valid = rows.having("simple"), _valid(rows)
    first, last, error = points[0], points[-1], np.median(abs(valid["gain"] - valid["predicted_gain"]))
    return (
        f"From loss {first['loss']:.2g} to {last['loss']:.2g} the noise scale grows from {first['simple']:.0f} to"
        f" {last['simple']:.0f} examples; {len(valid)} steps gain the share 1 / (1 + B_noise / B) of the best step"
        f" on all examples, up to {error:.2f} (median)."
    )


def _valid(rows: Rows) -> Rows:
    """The steps short enough that the loss along them is a quadratic."""
    return rows.having("gain").where(departure=lambda departure: departure <= QUADRATIC)


def _measure(config: Config, network: Problem, tree: Any) -> tuple[Row, list[Row]]:
    """Noise scales at a point, exact and from groups, and the gains of steps there."""
    problem, params = problems.flattened(network), ravel_pytree(tree)[0]
    hessian, value = curvature.hessian(problem, params), float(problem.full_loss(params))
    each = _gradients(problem, params)
    num, mean = len(each), each.mean(0)
    centred = each - mean
    # tr(H S) = tr(D H D') / n for the rows D of deviations: n rows, of which the outliers of H leave few that matter.
    covariance = curvature.operator(lambda vector: centred @ hessian(vector @ centred) / num, jnp.zeros(num))
    noise = curvature.trace(covariance, num_products=config.num_products)
    squared, bend = float(mean @ mean), float(mean @ hessian(mean))
    picked = jax.random.randint(jax.random.key(config.seed + 1), (config.num_drawn,), 0, num)
    drawn = jax.tree.map(lambda leaf: leaf[picked], problem.data)
    groups = curvature.noise_scale(network, tree, data=drawn, chunk_size=CHUNK).simple
    assert groups.interval is not None
    curved = {"curved": noise.value / bend, "curved_error": (noise.standard_error or 0.0) / bend}
    row = curved | {
        "loss": value, "squared_gradient": squared, "simple": float(jnp.sum(centred**2)) / num / squared,
        "simple_estimate": groups.value, "simple_low": groups.interval[0], "simple_high": groups.interval[1],
    }  # fmt: skip
    if not (bend > 0 and noise.value > 0):
        return row, []  # bent downwards along the gradient, or in the noise: there is no best step
    best = squared / bend
    full = value - float(_losses(problem, (params - best * mean)[None])[0])
    gains = []
    for size in (max(1, round(share * row["curved"])) for share in config.shares):
        rate = float(theory.noise_scale.optimal_learning_rate(size, row["curved"], best))
        counts = np.random.default_rng([config.seed, size]).multinomial(size, np.full(num, 1 / num), config.num_batches)
        batches = jnp.asarray(counts / size) @ each
        lower = value - _losses(problem, params - rate * batches)
        # The part that is linear in the batch's deviation has mean 0: without it the same mean has less scatter.
        gain = mean_of_samples(np.asarray(lower - rate * (batches - mean) @ mean) / full)
        gains.append(curved | {
            "departure": abs(full / (0.5 * best * squared) - 1), "batch_size": size, "learning_rate": rate,
            "gain": gain.value, "gain_error": gain.standard_error, "predicted_gain": rate / best,
        })  # fmt: skip
    return row, gains


def _gradients(problem: Problem, params: jax.Array) -> jax.Array:
    """The examples' gradients, [n, d]."""

    def single(params: jax.Array, example: Any) -> jax.Array:
        return problem.loss(params, jax.tree.map(lambda leaf: leaf[None], example), None)

    return jax.jit(jax.vmap(jax.grad(single), (None, 0)))(params, problem.data)


def _losses(problem: Problem, points: jax.Array) -> jax.Array:
    """The loss over all examples at points [m, d]."""
    return jax.lax.map(problem.full_loss, points)


if __name__ == "__main__":
    raise SystemExit(main())
