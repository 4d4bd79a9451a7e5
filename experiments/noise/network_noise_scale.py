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
from jaxopt_lab.core import Problem, Verdict, fail, mean_of_samples
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main
from jaxopt_lab.studies.fields import Count, Positive, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import at_least, at_most

REFERENCE = "McCandlish et al. 2018, arXiv 1812.06162"
CHUNK = 2048
QUADRATIC = 0.1
SPREAD = 10.0


@configclass
class Config:
    """All that can change a number."""

    width: Count = 32
    """Units in each of the two hidden layers (ReLU, no normalization; pixels in [0, 1])."""
    learning_rate: Positive = 0.1
    """Of the run of SGD, per step."""
    batch_size: Count = 32
    """Of the run of SGD, examples."""
    times: tuple[int, ...] = (0, 10, 30, 100, 300, 1000, 3000, 10_000)
    """Where it is measured, steps, increasing; the first is 0."""
    shares: tuple[Positive, ...] = (0.125, 1.0, 8.0)
    """Batch sizes whose step is measured, in units of the noise scale."""
    num_batches: Annotated[int, Whole(20)] = 200
    """Batches for each gain, a count."""
    num_drawn: int = 65_536
    """Examples drawn with replacement for the estimates from groups, a multiple of 2048."""
    num_products: Annotated[int, Whole(4)] = 45
    """Hessian products for tr(H S)."""
    seed: Seed = 0
    """Seeds the parameters and every draw."""

    def __post_init__(self) -> None:
        if len(self.times) < 2 or self.times[0] != 0 or any(np.diff(self.times) <= 0):
            raise fail("network_noise_scale", f"times must be two or more, increasing, from 0, got {self.times}")
        if self.num_drawn < CHUNK or self.num_drawn % CHUNK:
            raise fail("network_noise_scale", f"num_drawn must be a multiple of {CHUNK}, got {self.num_drawn}")


PRESETS = {
    "quick": Config(),
    "full": Config(
        width=64,
        times=(0, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000),
        num_batches=1000,
        num_drawn=2**19,
        num_products=90,
    ),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a time of the run, then one a time and batch size."""
    problem = problems.load_problem(
        "digits-mlp", width=config.width, activation="relu", scaling="raw", fraction=1.0
    )  # fmt: skip
    params, done = problem.init(jax.random.key(config.seed)), 0
    rows, steps = [], []
    for time in config.times:
        if time > done:
            trace = training.run(
                problem, rules.sgd, {"learning_rate": config.learning_rate}, steps=time - done, every=time - done,
                params=params, batch_size=config.batch_size, seeds=config.seed + done,
            )  # fmt: skip
            params, done = trace.params_of(), time
        row, gains = _measure(config, problem, params)
        rows.append({"step": time} | row)
        steps += [{"at_step": time} | gain for gain in gains]
    return rows + steps


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """How far the noise scale grows; whether its two forms and its estimates agree; the gains that it predicts."""
    points, gains = _split(rows)
    valid = [row for row in gains if row["departure"] <= QUADRATIC]
    apart = [abs(row["gain"] - row["predicted_gain"]) / _allowed(row) for row in valid]
    simple = np.array([row["simple"] for row in points])
    ratios = np.array([row["curved"] / row["simple"] for row in points])
    brackets = [row["simple_low"] <= row["simple"] <= row["simple_high"] for row in points]
    return [
        at_least("The noise scale grows by orders of magnitude while the network trains",
                 "largest B_simple over that of the first point", 100.0, simple.max() / simple[0],
                 reference=REFERENCE),
        at_least("It is larger the lower the loss", "rank correlation of B_simple with minus the loss", 0.8,
                 _rank_correlation(simple, [-row["loss"] for row in points]), reference=REFERENCE),
        at_most("B_noise and B_simple are of one size", "largest factor between the two", SPREAD,
                float(np.exp(np.abs(np.log(ratios)).max())), reference=REFERENCE),
        at_most("The best step on B examples gains 1 / (1 + B_noise / B) of the best step on all",
                f"largest difference over what four standard errors and the quadratic's error allow, {len(valid)} steps",
                1.0, max(apart), reference=REFERENCE),
        # An interval of 95 % misses one time in 20: of 8, two or more misses come one time in 17.
        at_least("The estimate from groups of examples brackets the exact noise scale", "share of the intervals",
                 1 - 1.5 / len(points), np.mean(brackets), reference="Fieller 1954"),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Above: noise scales against the loss. Below: the gain of a step against B over B_noise."""
    figure, (above, below) = maker.axes(2, 1, height=7.0)
    points, gains = _split(rows)
    losses, simple = [row["loss"] for row in points], [row["simple"] for row in points]
    above.plot(losses, simple, color=maker.color(0), linewidth=1, alpha=0.4)
    above.vlines(losses, *np.array([(row["simple_low"], min(row["simple_high"], 1e5)) for row in points]).T,
                 color=maker.color(0), linewidth=1)  # fmt: skip
    maker.measured(above, losses, simple, label="B_simple", markersize=7)
    maker.measured(above, losses, [row["curved"] for row in points], color=1, label="B_noise", markersize=7, marker="s")
    above.set(xscale="log", yscale="log", xlabel="training loss, falling", ylabel="noise scale, examples")
    above.invert_xaxis()
    above.set_title("The batch that is worth its cost grows as the loss falls")
    shares = np.geomspace(config.shares[0] / 2, 2 * config.shares[-1], 200)
    maker.predicted(below, shares, 1 / (1 + 1 / shares))
    for valid, shade in ((True, 0), (False, 6)):
        kept = [row for row in gains if (row["departure"] <= QUADRATIC) == valid]
        x = [row["batch_size"] / row["curved"] for row in kept]
        look: dict[str, Any] = (
            {} if valid else {"markerfacecolor": "none", "markeredgecolor": maker.color(shade), "markeredgewidth": 1}
        )
        maker.measured(below, x, [row["gain"] for row in kept], color=shade, markersize=7, **look)
        if valid:
            errors = [4 * row["gain_error"] for row in kept]
            below.errorbar(x, [row["gain"] for row in kept], yerr=errors, fmt="none", ecolor=maker.color(0))
    below.set(xscale="log", ylim=(0, 1.1), xlabel="batch size over B_noise", ylabel="gain over the full step's")
    below.set_title("Line predicted; rings where no quadratic holds")
    return figure


def caption(config: Config, rows: Rows) -> str:
    points, gains = _split(rows)
    first, last = points[0], points[-1]
    valid = [row for row in gains if row["departure"] <= QUADRATIC]
    error = np.median([abs(row["gain"] - row["predicted_gain"]) for row in valid])
    return (
        f"From loss {first['loss']:.2g} to {last['loss']:.2g} the noise scale grows from {first['simple']:.0f} to"
        f" {last['simple']:.0f} examples; {len(valid)} steps gain the share 1 / (1 + B_noise / B) of the best step"
        f" on all examples, up to {error:.2f} (median)."
    )


def _measure(config: Config, problem: Problem, params: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Noise scales at a point, exact and from groups, and the gains of steps there."""
    hessian = curvature.hessian(problem, params)
    each, mean, value = _gradients(problem, params)
    flat, rebuild = ravel_pytree(params)
    num, centred = len(each), each - mean

    def product(vector: jax.Array) -> jax.Array:
        return centred @ _flat(hessian(rebuild(vector @ centred))) / num

    # tr(H S) = tr(D H D') / n for the rows D of deviations: n rows, of which the outliers of H leave few that matter.
    noise = curvature.trace(curvature.operator(product, jnp.zeros(num)), num_products=config.num_products)
    squared, bend = float(mean @ mean), float(mean @ _flat(hessian(rebuild(mean))))
    picked = jax.random.randint(jax.random.key(config.seed + 1), (config.num_drawn,), 0, num)
    drawn = jax.tree.map(lambda leaf: leaf[picked], problem.data)
    groups = curvature.noise_scale(problem, params, data=drawn, chunk_size=CHUNK).simple
    assert groups.interval is not None
    row = {
        "loss": value, "squared_gradient": squared, "simple": float(jnp.sum(centred**2)) / num / squared,
        "curved": noise.value / bend, "curved_error": (noise.standard_error or 0.0) / bend,
        "simple_estimate": groups.value, "simple_low": groups.interval[0], "simple_high": groups.interval[1],
    }  # fmt: skip
    if not (bend > 0 and noise.value > 0):
        return row, []  # bent downwards along the gradient, or in the noise: there is no best step
    best = squared / bend
    full = value - float(_losses(problem, rebuild, (flat - best * mean)[None])[0])
    departure = abs(full / (0.5 * best * squared) - 1)
    sizes = [max(1, round(share * row["curved"])) for share in config.shares]
    facts = {"curved": row["curved"], "curved_error": row["curved_error"], "departure": departure}
    return row, [facts | _step(config, problem, (flat, rebuild, each, mean, value), best, full, size, row["curved"])
                 for size in sizes]  # fmt: skip


def _step(
    config: Config, problem: Problem, point: tuple[Any, ...], best: float, full: float, size: int, scale: float
) -> dict[str, Any]:
    """The mean gain of the best step on batches of a size, over the full gradient's."""
    flat, rebuild, each, mean, value = point
    rate = float(theory.noise_scale.optimal_learning_rate(size, scale, best))
    generator = np.random.default_rng([config.seed, size])
    counts = generator.multinomial(size, np.full(len(each), 1 / len(each)), config.num_batches)
    gradients = jnp.asarray(counts / size) @ each
    gains = value - _losses(problem, rebuild, flat - rate * gradients)
    # The part that is linear in the batch's deviation has mean 0: without it the same mean has less scatter.
    gain = mean_of_samples(np.asarray(gains - rate * (gradients - mean) @ mean) / full)
    return {
        "batch_size": size, "learning_rate": rate, "gain": gain.value, "gain_error": gain.standard_error,
        "predicted_gain": rate / best,
    }  # fmt: skip


def _gradients(problem: Problem, params: Any) -> tuple[jax.Array, jax.Array, float]:
    """The examples' gradients [n, d], their mean, and the loss."""

    def single(params: Any, example: Any) -> jax.Array:
        return problem.loss(params, jax.tree.map(lambda leaf: leaf[None], example), None)

    each = jax.jit(jax.vmap(lambda params, example: _flat(jax.grad(single)(params, example)), (None, 0)))
    rows = each(params, problem.data)
    return rows, rows.mean(0), float(problem.full_loss(params))


def _losses(problem: Problem, rebuild: Any, points: jax.Array) -> jax.Array:
    """The loss over all examples at points [m, d]."""
    return jax.lax.map(lambda point: problem.full_loss(rebuild(point)), points)


def _flat(tree: Any) -> jax.Array:
    return ravel_pytree(tree)[0]


def _allowed(row: Any) -> float:
    """Four standard errors of the gain and of the prediction, and the quadratic's own error, which is known."""
    share = row["predicted_gain"]
    of_scale = share * (1 - share) * row["curved_error"] / row["curved"]
    return 4 * float(np.hypot(row["gain_error"], of_scale)) + row["departure"] * share


def _rank_correlation(first: Any, second: Any) -> float:
    ranks = np.argsort(np.argsort(np.array([first, second])))
    return float(np.corrcoef(ranks)[0, 1])


def _split(rows: Rows) -> tuple[list[Any], list[Any]]:
    return [row for row in rows if "simple" in row], [row for row in rows if "gain" in row]


if __name__ == "__main__":
    raise SystemExit(main())
