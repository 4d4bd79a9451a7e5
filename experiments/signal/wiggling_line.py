"""Why is it bad for a linear classifier when its data lie far from the origin?

What the lecture says: with data far from the origin, "if that line wiggles just a little bit", the classification
breaks down; centred data forgive it.

What is true: right, and there is a closed form. A line that turns about the origin by an angle a moves past a cluster
at distance R by R sin(a): one class is at chance at tan(a) = D / (2 R), D the distance of the clusters. The loss tells
the same: its curvature along the turn is (1 + R^2 / s^2) times that of centred data, s the deviation of a cluster,
whatever the loss is, so that the largest stable learning rate falls by as much. It is the
angle about the ORIGIN that counts: a bias that is trained along can undo it, at the price of a condition number.

Source: two Gaussian clusters, `theory.preprocessing.rotated_line_error`; LeCun, Kanter, Solla 1991 for the curvature.
"""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab import theory
from jaxopt_lab.core import Verdict
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main, measures
from jaxopt_lab.studies.fields import Between, Increasing, Positive, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import everywhere, relative

REFERENCE = "theory.preprocessing.rotated_line_error"


@configclass
class Config:
    """All that can change a number. Clusters have deviation 1; the best line runs through the origin between them."""

    separation: Annotated[float, Between("[1, 8]")] = 4.0
    """Distance of the two clusters D, in deviations."""
    distances: Annotated[tuple[float, ...], Increasing("start with 0 and increase", first=0.0)] = (0.0, 5.0, 50.0)
    """How far they lie from the origin along the line R, in deviations; the first is centred data."""
    largest_angle: Annotated[float, Between("(0, 1.5]")] = 0.2
    """Largest turn of the line, radians."""
    num_angles: Annotated[int, Whole(2)] = 21
    """Turns from 0 to the largest, evenly spaced, a count."""
    num_points: Annotated[int, Whole(1000)] = 200_000
    """Points of each distance, half of them in each cluster."""
    weight: Positive = 1.0
    """Length of the weight vector at which the curvature is measured, over D, that of the best logistic regression."""
    seed: Seed = 0
    """Seeds the points."""


PRESETS = {"quick": Config(), "full": Config(distances=(0.0, 1.0, 5.0, 20.0, 50.0, 500.0), num_points=2_000_000)}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a distance and angle; one a distance with the curvature of the logistic loss along the turn."""
    rng = np.random.default_rng(config.seed)
    side = np.where(np.arange(config.num_points) % 2, 1.0, -1.0)
    normal = side * config.separation / 2 + rng.normal(size=config.num_points)
    noise = rng.normal(size=config.num_points)
    angles = np.linspace(0, config.largest_angle, config.num_angles)
    rows = []
    for distance in config.distances:
        for angle in sorted({*angles, *_limit(config, distance)}):
            wrong = np.sign(np.cos(angle) * normal + np.sin(angle) * (distance + noise)) != side
            predicted = float(theory.preprocessing.rotated_line_error(angle, distance, config.separation))
            worst = max(wrong[side < 0].mean(), wrong[side > 0].mean())
            error = np.sqrt(predicted * (1 - predicted) / config.num_points)
            rows.append(
                {
                    "distance": distance,
                    "angle": float(angle),
                    "error": float(wrong.mean()),
                    "predicted": predicted,
                    "worst_class": float(worst),
                    "standard_error": float(error),
                }
            )
        rows.append(_curvature(config, distance, normal, side, noise))
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The error's closed form, the angle of chance, and the curvature along the turn."""
    far = config.distances[-1]
    limit = rows.only(distance=far, angle=lambda angle: angle in _limit(config, far))
    return [
        everywhere("The error of a line that turns follows its closed form at every distance and angle",
                   "share of errors at distance {distance:g}, angle {angle:.3f}", rows.having("angle"), "error",
                   "predicted", errors="standard_error", reference=REFERENCE),
        # 4 standard errors of a share of half of the points
        relative("At tan(angle) = D / (2 R) one class is at chance",
                 f"its share of errors at angle {limit['angle']:.4f}", 0.5, limit["worst_class"],
                 4 / np.sqrt(config.num_points / 2), reference=REFERENCE),
        everywhere("The loss is 1 + R^2 / s^2 times as sensitive to the turn as on centred data",
                   "curvature along the turn over that of centred data, distance {distance:g}", rows.having("ratio"),
                   "ratio", "law", errors="ratio_error", reference="LeCun, Kanter, Solla 1991"),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Errors against the angle, a colour for each distance: lines the closed form, dots samples."""
    figure, axes = maker.axes(height=4.2)
    dense = np.linspace(0, config.largest_angle, 400)
    for color, distance in enumerate(config.distances):
        own = rows.having("angle").where(distance=distance)
        line = theory.preprocessing.rotated_line_error(dense, distance, config.separation)
        maker.predicted(axes, np.degrees(dense), line, color=color, label=f"R = {distance:g}")
        maker.measured(axes, np.degrees(own["angle"]), own["error"], color=color)
    axes.set(xlim=(0, 1.22 * np.degrees(config.largest_angle)), ylim=(0, None), xlabel="turn of the line, degrees",
             ylabel="share of errors", title="Far from the origin a little turn is too much")  # fmt: skip
    return figure


def caption(config: Config, rows: Rows) -> str:
    far, degrees = config.distances[-1], 3.0
    errors = theory.preprocessing.rotated_line_error(np.radians(degrees), [0.0, far], config.separation)
    ratio = rows.having("ratio").only(distance=far)["ratio"]
    return (
        f"A line that turns by {degrees:g} degrees errs on {errors[0]:.1%} of centred data and on {errors[1]:.0%} of"
        f" the same data at distance {far:g}, where the loss is {ratio:,.0f} times as curved along the turn."
    )


def _limit(config: Config, distance: float) -> tuple[float, ...]:
    """The angle at which one class is at chance, if there is one."""
    if distance == 0:
        return ()
    return (float(theory.preprocessing.rotated_line_limit(distance, config.separation)),)


def _curvature(
    config: Config, distance: float, normal: np.ndarray, side: np.ndarray, noise: np.ndarray
) -> dict[str, Any]:
    """The second derivative of each point's logistic loss by the angle at 0, over that of centred data."""
    each = jax.jit(jax.vmap(jax.hessian(_turned_loss), in_axes=(None, 0, 0, 0)))
    weight, origin = config.weight * config.separation, jnp.zeros(2)
    # By both weights; the turn is along the second one.
    far, near = (
        np.asarray(each(origin.at[0].set(weight), jnp.asarray(normal), jnp.asarray(along), jnp.asarray(side)))[:, 1, 1]
        for along in (distance + noise, noise)
    )
    ratio = measures.ratio_of_means(far, near)
    return {"distance": distance, "ratio": ratio.value, "law": 1 + distance**2,
            "ratio_error": (ratio.standard_error or 0.0) + 1e-9}  # fmt: skip


def _turned_loss(weights: jax.Array, normal: jax.Array, along: jax.Array, side: jax.Array) -> jax.Array:
    return jnp.logaddexp(0.0, -side * (weights[0] * normal + weights[1] * along))


if __name__ == "__main__":
    raise SystemExit(main())
