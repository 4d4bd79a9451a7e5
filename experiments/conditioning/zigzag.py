"""When does gradient descent zig-zag?

What the lecture says: it draws a loss shaped like a taco shell: the gradient "does not align with the direction towards
the minima", so descent shows "zig-zagging behavior" and "very slow progress along the horizontal dimension".

What is true: at the worst point the gradient's cosine to the minimum is only 2 sqrt(kappa) / (kappa + 1), at a random
point of high dimension a mild tr H / sqrt(d tr H^2). At a constant learning rate the zig-zag lasts only above
2 / (L + mu); below, it is a transient, successive steps turn parallel, and what remains is a straight crawl. With exact
line search it lasts always: successive gradients meet at right angles, the steps end up alternating between two lengths
1 / a and 1 / b with a + b = L + mu, and the loss shrinks per step by a factor in [K / (2 - K), K], K = ((kappa - 1) /
(kappa + 1))^2 (if it fell faster, modes in the middle of a dense spectrum would grow again).

Source: Kantorovich 1948; Akaike 1959; Nocedal, Sartenaer and Zhu 2002 (which alternations are stable).
"""

from typing import Annotated, Any

import jax
import numpy as np
import optax

from jaxopt_lab import core, objectives, theory, training
from jaxopt_lab.core import Verdict, fail, require_between, vectors
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.rules import sgd
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Between, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, at_least, at_most, relative, within

ANGLE_KAPPAS = (1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
AKAIKE = "Nocedal, Sartenaer, Zhu 2002; Akaike 1959"


@configclass
class Config:
    """All that can change a number. Spectra are log-uniform with L = 1; the minimum is at 0."""

    kappa: Annotated[float, Between("[10, 200]", why="Beyond, the edge is too near to the threshold.")] = 100.0
    """Condition number of the runs, a pure number in [10, 200]."""
    rates: tuple[float, ...] = (0.5, 0.96, 0.995, 1.005)
    """Learning rates in units of the threshold 2 / (L + mu), each at least 0.4 % off it and below the edge 2 / L."""
    dim: Annotated[int, Whole(20)] = 1000
    """Parameters of the runs, a count."""
    steps: Annotated[int, Whole(1500)] = 3000
    """Length of the runs, steps; long enough for one side of the spectrum to win."""
    angle_dim: Annotated[int, Whole(1000)] = 100_000
    """Parameters where angles are taken at random points, a count."""
    num_points: Annotated[int, Whole(5)] = 20
    """Random points for each condition number, a count."""
    seed: Seed = 0
    """Seeds the starting point and the random points."""

    def __post_init__(self) -> None:
        for rate in self.rates:
            require_between("zigzag", "rates", rate, 0.1, 1 + 1 / self.kappa, ends="[)", why="Beyond lies 2 / L.")
        if (
            not min(self.rates, default=1) < 1 < max(self.rates, default=1)
            or min(abs(np.array(self.rates) - 1)) < 0.004
        ):
            raise fail("zigzag", f"rates must lie on both sides of 1 and at least 0.4 % off it, got {self.rates}")

    @property
    def learning_rates(self) -> np.ndarray:
        """The rates as learning rates, in units of 1 / L."""
        return theory.geometry.zig_zag_threshold(1.0, 1 / self.kappa) * np.array(self.rates)


PRESETS = {
    "quick": Config(),
    "full": Config(dim=100_000, angle_dim=1_000_000, num_points=50),
    "huge": Config(dim=100_000, angle_dim=100_000_000, num_points=5),
}


def run(config: Config) -> list[dict[str, Any]]:
    """Paths in the plane, cosines of successive updates in high dimension, angles at random and at the worst points."""
    return [*_paths(config), *_constant_rates(config), _line_search(config), *_angles(config)]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Both sides of the threshold, the line search, the angles."""
    constant, search, angles = (rows.where(kind=kind) for kind in ("constant rate", "line search", "angle"))
    hard, worst = angles[-1], float(theory.geometry.line_search_loss_ratio(config.kappa))
    off = [np.abs(row["cosine"][row["checked"]] - row["predicted"]).max() for row in constant]
    return [
        *(absolute("Successive steps of gradient descent turn"
                   f" {'parallel below' if row['rate'] < 1 else 'opposite above'} 2 / (L + mu)",
                   f"final cosine at {row['rate']:g} times the threshold", 1.0 if row["rate"] < 1 else -1.0,
                   float(row["cosine"][-1]), _remainder(config, row), reference="q = 1 - lr lambda")
          for row in constant),
        # Each cosine is a sum of powers; k roundings of each power, k up to a few thousand.
        absolute("The whole curves of cosines are those of the modes", "largest difference at all rates", 0.0,
                 float(max(off)), 1e-9, reference="q = 1 - lr lambda"),
        # The step's length is right to some eps; its error enters the cosine by as much, times the spread of the modes.
        absolute("Exact line search turns by a right angle at every step", "largest |cosine of successive steps|", 0.0,
                 float(np.abs(search[0]["cosine"][2:]).max()), 1e-10, reference="Cauchy 1847"),
        # The modes next to the extremes leave only like 1 / steps.
        absolute("Exact line search alternates between two directions for ever", "cosine of every other step", 1.0,
                 search[0]["two_step_cosine"], 3 / config.steps, reference=AKAIKE),
        at_most("Exact line search is at least as fast as its worst case", "loss ratio per step", worst,
                search[0]["ratio"], tolerance=1e-12, reference="Kantorovich 1948"),
        at_least("Exact line search is at most about twice as fast as that", "loss ratio per step",
                 worst / (2 - worst), search[0]["ratio"], tolerance=1e-12, reference=AKAIKE),
        # Sampling error; beyond it the mean of a ratio and the discrete spectrum are off by some 1 / d.
        *(within("At a random point in high dimension the gradient is mildly misaligned",
                 f"mean cosine to the minimum at kappa = {row['kappa']:.0e}, {config.angle_dim:.0e} dimensions",
                 row["typical_predicted"], row["typical"], row["typical_error"] + 4 / config.angle_dim,
                 reference="tr H / sqrt(d tr H^2)") for row in angles[1::2]),
        relative("At the worst point the gradient is nearly orthogonal to the way",
                 f"cosine to the minimum at kappa = {hard['kappa']:.0e}", hard["worst_predicted"], hard["worst"], 1e-10,
                 reference="Kantorovich 1948"),
    ]  # fmt: skip


def _remainder(config: Config, row: Row) -> float:
    """How far the final cosine may still be from its limit.

    The losing end of the spectrum has shrunk against the winning one by (q_lose / q_win)^(2 steps), with at most
    d kappa^2 times its weight. Among the winners' neighbours those are left whose q is within about 1 / steps of the
    best, relatively, and a spread s of q costs s^2 / 2.
    """
    steep, flat = np.log(np.abs(1 - row["learning_rate"])), np.log1p(-row["learning_rate"] / config.kappa)
    return float(config.dim * config.kappa**2 * np.exp(-2 * abs(steep - flat) * config.steps) + 4 / config.steps**2)


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """The lecture's picture, the running cosine, and the angle against kappa."""
    figure, (shell, cosines, angles) = maker.axes(3, 1, height=10.0, gridspec_kw={"height_ratios": [1, 1.35, 1.2]})
    around = np.linspace(0, 2 * np.pi, 400)
    for height in (0.3, 0.72, 1.2):
        shell.plot(
            height * np.sqrt(config.kappa) * np.cos(around), height * np.sin(around), color="#d5dae0", linewidth=0.8
        )
    paths = rows.where(kind="path")["path"]
    for color in sorted({0, 1, len(paths) - 1}, reverse=True):
        shell.plot(*paths[color][:60].T, color=maker.color(color), linewidth=0.9, marker="o", markersize=2)
    shell.plot(0, 0, marker="*", color=maker.color(6), markersize=9)
    shell.set(xlim=(-10.6, 1.2), ylim=(-1.25, 1.25), xlabel="flat direction", ylabel="steep direction",
              title=f"kappa = {config.kappa:g}: 60 steps at three of the rates below")  # fmt: skip
    shown, search = np.unique(np.geomspace(2, config.steps, 40).astype(int)), rows.only(kind="line search")
    for color, row in enumerate(rows.where(kind="constant rate")):
        maker.predicted(cosines, row["checked"], row["predicted"], color=color)
        maker.measured(cosines, shown, row["cosine"][shown], color=color)
        turned = 2 + int(np.argmax(row["cosine"][2:] > 0.2)) if row["rate"] < 1 else 400
        cosines.annotate(f"{row['rate']:g}", (turned, row["cosine"][turned]), xytext=(8, -9 if row["rate"] < 1 else 9),
                         textcoords="offset points", va="center", color=maker.color(color))  # fmt: skip
    cosines.axhline(0, color=maker.color(6), linewidth=1.2)
    maker.measured(cosines, shown, search["cosine"][shown], color=6)
    maker.label(cosines, config.steps, 0, "exact\nline search", color=6)
    cosines.set(xscale="log", ylim=(-1.12, 1.12), xlabel="step", ylabel="cosine of two steps", xlim=(1.8, config.steps),
                title="learning rate in units of 2 / (L + mu), as labelled")  # fmt: skip
    kappas, found = np.geomspace(ANGLE_KAPPAS[0], ANGLE_KAPPAS[-1], 100), rows.where(kind="angle")
    laws = (theory.geometry.worst_gradient_cosine, theory.geometry.log_uniform_gradient_cosine)
    for color, (name, law) in enumerate(zip(("worst", "typical"), laws, strict=True), start=1):
        maker.predicted(angles, kappas, law(kappas), color=color, label=f"{name}\npoint")
        maker.measured(angles, found["kappa"], found[name], color=color)
    angles.set(xscale="log", yscale="log", xlabel="kappa", ylabel="cosine to the minimum", ylim=(1e-3, 1.5))
    return figure


def caption(config: Config, rows: Rows) -> str:
    ends = ", ".join(f"{row['cosine'][-1]:+.4f} at {row['rate']:g}" for row in rows.where(kind="constant rate"))
    hard = rows.where(kind="angle")[-1]
    return (
        "At a constant rate descent zig-zags for ever only above 2 / (L + mu): the cosine of successive steps ends at"
        f" {ends} times that rate. At a random point of {config.angle_dim:.0e} dimensions the gradient points to the"
        f" minimum with cosine {hard['typical']:.2f} even where kappa = {hard['kappa']:.0e}."
    )


def exact_line_search() -> optax.GradientTransformationExtraArgs:
    """Gradient descent to the lowest point along the gradient of a quadratic: x <- x - (g'g / g'Hg) g."""

    def update(grads: Any, state: Any, params: Any = None, *, grad_fn: Any = None, **_: Any) -> tuple[Any, Any]:
        curvature = vectors.subtract(grad_fn(vectors.combination((1.0, params), (1.0, grads))), grads)
        length = vectors.sum_of_squares(grads) / vectors.dot(grads, curvature)
        return vectors.combination((-length, grads)), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)  # pyrefly: ignore


def _paths(config: Config) -> list[Row]:
    """Two dimensions, seen from above: the flat direction first."""
    problem = objectives.quadratic(np.array([1 / config.kappa, 1.0]), start=np.array([-10.0, 1.0]))
    trace = training.run(problem, sgd, {"learning_rate": config.learning_rates}, steps=120,
                         probes=[training.loss(), training.coordinates(0, 1)])  # fmt: skip
    return [{"kind": "path", "rate": rate, "path": trace["coordinates"][k]} for k, rate in enumerate(config.rates)]


def _problem(config: Config) -> core.Problem:
    start = np.random.default_rng(config.seed).normal(size=config.dim)
    return objectives.quadratic(objectives.spectra.log_uniform(config.dim, config.kappa), start=start)


def _constant_rates(config: Config) -> list[Row]:
    problem = _problem(config)
    eigenvalues, start = np.asarray(problem.truth.eigenvalues), np.asarray(problem.init(jax.random.key(0)))
    rates, probes = config.learning_rates, [training.loss(), training.update_cosine()]
    trace = training.run(problem, sgd, {"learning_rate": rates}, steps=config.steps, probes=probes)
    checked = np.unique(np.geomspace(2, config.steps, 120).astype(int))
    return [{"kind": "constant rate", "rate": rate, "learning_rate": own, "cosine": cosine, "checked": checked,
             "predicted": np.array([_exact_cosine(eigenvalues, start, own, step) for step in checked])}
            for rate, own, cosine
            in zip(config.rates, rates.tolist(), trace["update_cosine"], strict=True)]  # fmt: skip


def _exact_cosine(eigenvalues: np.ndarray, start: np.ndarray, rate: float, step: int) -> float:
    """Cosine of updates number `step` and `step` - 1; update j is -lr lambda (1 - lr lambda)^(j - 1) x_0."""
    last, before = (eigenvalues * start * theory.modes.mode_value(step - lag, rate, eigenvalues) for lag in (1, 2))
    return float(last @ before / np.sqrt((last @ last) * (before @ before)))


def _line_search(config: Config) -> Row:
    problem = _problem(config)
    probes = [training.loss(), training.update_cosine()]
    trace = training.run(problem, exact_line_search, steps=config.steps, probes=probes)
    later = training.run(problem, exact_line_search, steps=2, params=trace.params_of())
    gradients = [jax.grad(problem.full_loss)(run.params_of()) for run in (trace, later)]
    return {"kind": "line search", "cosine": trace["update_cosine"][0], "loss": trace["loss"][0],
            "two_step_cosine": float(vectors.cosine(*gradients)),
            "ratio": float(np.sqrt(later["loss"][0, 2] / later["loss"][0, 0]))}  # fmt: skip


def _angles(config: Config) -> list[Row]:
    rows = []
    for kappa in ANGLE_KAPPAS:
        problem = objectives.quadratic(objectives.spectra.log_uniform(config.angle_dim, kappa))
        points = map(problem.init, jax.random.split(jax.random.key(config.seed), config.num_points))
        cosines = core.mean_of_samples(np.array([float(_gradient_cosine(problem.loss, point)) for point in points]))
        # The worst point lies in the plane of both extreme modes, where each contributes as much to the loss.
        worst = np.zeros(config.angle_dim)
        worst[0], worst[-1] = np.sqrt(kappa), 1.0
        rows.append({
            "kind": "angle", "kappa": kappa, "typical": cosines.value, "typical_error": cosines.standard_error,
            "typical_predicted": float(theory.geometry.log_uniform_gradient_cosine(kappa)),
            "worst": float(_gradient_cosine(problem.loss, worst)),
            "worst_predicted": float(theory.geometry.worst_gradient_cosine(kappa)),
        })  # fmt: skip
    return rows


@jax.jit
def _gradient_cosine(loss: Any, point: jax.Array) -> jax.Array:
    """Cosine between minus the gradient and the direction to the minimum at 0."""
    return vectors.cosine(jax.grad(lambda params: loss(params, None, None))(point), point)


if __name__ == "__main__":
    raise SystemExit(main())
