"""What are zero-mean and unit-variance inputs worth?

What the lecture says: preprocess the data "so it has zero mean and unit variance"; otherwise the loss is sensitive to
"small perturbations in the weight matrix of that layer".

What is true: for a linear model with a bias unit the worth is a number, the condition number of the inputs' second
moments. A mean m with variance s^2 in every direction gives kappa = top^2 / s^2, about |m|^4 / s^2 for large means.
On images of digits the step from raw to standardized pixels takes kappa from 6.5e6 to 146, and with it the steps of
gradient descent from 4.5e7 to 1007 at most; whitening takes it to 1.

A constant feature beside a bias unit makes kappa infinite: the three constant pixels of digits are left out. Measured
is the distance to the minimizer of least squares on the table's targets, from weights 0, at each method's optimal
constants. Short runs go through the examples; long ones through the eigenvectors of the same Hessian, which changes
no distance; those too long for the preset run for a stretch, and the number of their steps is computed, not run.

Source: LeCun, Kanter, Solla 1991, Phys. Rev. Lett. 66, 2396; LeCun, Bottou, Orr, Mueller 1998, Efficient BackProp.
"""

from typing import Annotated, Any

import numpy as np

from jaxopt_lab import datasets, objectives, rules, theory, training
from jaxopt_lab.core import Verdict, require_between
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Between, Count, OneOf, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, at_most, relative

METHODS = {
    "gradient descent": (rules.sgd, theory.rates.optimal_gradient_descent),
    "heavy ball": (rules.heavy_ball, theory.rates.optimal_heavy_ball),
}
RECORDED = {
    "digits": (6.499e6, 4.3425e5, 1.0461e4, 145.80, 1.0),
    "breast_cancer": (2.3773e12, 6.3217e11, 2.9822e6, 9.9828e4, 1.0),
}
MEAN_NORMS = (0.5, 5.0, 10.0, 28.0, 100.0)
REFERENCE, MODES = "LeCun, Kanter, Solla 1991", "x_k = p_k(lambda) x_0"
RECORDS = 400  # of every run, so that runs of all lengths share a few programs


@configclass
class Config:
    """All that can change a number."""

    tables: Annotated[tuple[str, ...], OneOf(datasets.TABLES)] = ("digits", "breast_cancer")
    """Tables of `datasets.load_table`, names."""
    accuracy: Annotated[float, Between("[1e-8, 0.1]", why="Rounding ends the curves below.")] = 1e-6
    """Distance to the minimizer at which a run is done, as a fraction of its start."""
    data_steps: Count = 5000
    """Runs of at most so many steps go through the examples, steps."""
    max_steps: Annotated[int, Whole(10)] = 5_000_000
    """Runs of at most so many steps are run to the end, steps; longer ones for so many steps only."""
    sample_examples: Annotated[int, Whole(100)] = 20_000
    """Examples of the synthetic sample, a count."""
    sample_dim: Annotated[int, Whole(2)] = 100
    """Inputs of the synthetic sample, each with mean 1 and variance 1, a count."""
    seed: Seed = 0
    """Seeds the synthetic sample."""

    def __post_init__(self) -> None:
        require_between("preprocessing", "sample_dim", self.sample_dim, 2, self.sample_examples / 2)


PRESETS = {
    "quick": Config(),
    "full": Config(max_steps=50_000_000),
    "huge": Config(max_steps=500_000_000, sample_examples=200_000, sample_dim=1000),
}


def run(config: Config, checkpoints: training.Checkpoints) -> list[dict[str, Any]]:
    """One row a table, preprocessing and method; then the synthetic inputs."""
    kinds = [(table, kind) for table in config.tables for kind in datasets.SCALINGS]
    rows = [row for table, kind in kinds for row in _trained(config, table, kind, checkpoints)]
    return [*rows, _population(), _sample(config)]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The formula, the tables' condition numbers, then every run against its modes and its bound."""
    population, sample = rows.only(kind="population"), rows.only(kind="sample")
    return [
        # The smallest eigenvalue of a matrix is right to eps times the largest.
        absolute("Uncentred inputs with a bias unit have the condition number of the closed form",
                 f"largest relative difference, |m| up to {max(MEAN_NORMS):g}", 0.0, population["difference"],
                 4e-16 * float(theory.preprocessing.condition_number_with_bias(max(MEAN_NORMS))), reference=REFERENCE),
        # 1/lambda_min holds m'S^-1 m, which is |m|^2 / (1 - g) times a chi-square of n - d degrees, g = d / n; the norm
        # of the sample's mean, standard error 2 / (|m| sqrt(n)), enters both ends.
        relative("A sample of such inputs has the population's condition number",
                 f"kappa of {config.sample_examples} x {config.sample_dim}", sample["predicted"], sample["kappa"],
                 sample["tolerance"], reference=REFERENCE),
        # The record has four to five digits.
        *(absolute(f"Raw, centred, scaled, standardized and whitened {table} have the condition numbers on record"
                   f" ({', '.join(f'{kappa:.4g}' for kappa in RECORDED[table])})", "largest relative difference", 0.0,
                   float(np.abs(_kappas(rows, table) / RECORDED[table] - 1).max()), 1e-4,
                   reference="singular values of [X, 1]") for table in config.tables if table in RECORDED),
        *(verdict for method, runs in rows.by("method").items() for verdict in _of_method(config, runs, method)),
    ]  # fmt: skip


def _of_method(config: Config, rows: Rows, method: str) -> list[Verdict]:
    name, done = method.capitalize(), rows.where(finished=True)
    # A record tells that the goal was reached after the record before it.
    share = max((row["measured"] - row["every"] + 1) / row["bound"] for row in done if row["bound"] > 1)
    # Records lie `every` steps apart, and the exact number is taken from a grid of 0.2 %.
    allowed = done["every"] / done["exact"] + 0.002
    late = int(np.argmax(np.abs(done["measured"] / done["exact"] - 1) / allowed))
    worst = max(rows, key=lambda row: row["difference"] / _rounding(config, row))
    law = "(1 + (1 + r) k) r^k" if method == "heavy ball" else "contraction^k"
    return [
        at_most(f"{name} needs at most the steps that kappa allows",
                f"largest share of the steps at which {law} = {config.accuracy:g}, in {len(done)} runs", 1.0, share,
                reference="Polyak 1964"),
        relative(f"{name} needs as many steps as its modes say, in {len(done)} runs to the end",
                 f"steps, {done[late]['table']} {done[late]['kind']}", done[late]["exact"], done[late]["measured"],
                 allowed[late], unit="steps", reference=MODES),
        absolute(f"{name}'s whole curves are those of the modes, {len(rows) - len(done)} of them for a stretch only",
                 f"largest relative difference in distance, {worst['table']} {worst['kind']}", 0.0,
                 worst["difference"], _rounding(config, worst), reference=MODES),
    ]  # fmt: skip


def _rounding(config: Config, row: Row) -> float:
    """What rounding may change in a curve, relative.

    Each of k steps rounds by eps. At heavy ball's double root a change eps of the constants splits the roots by
    4 sqrt(eps), which over k steps changes k r^k by (4 k)^2 eps / 6. On the examples the minimizer is known to
    kappa eps, and the distance is a fraction `accuracy` of it at the end.
    """
    eps, steps = 4 * np.finfo(np.float64).eps, row["steps_run"]
    splitting = 3 * steps**2 if row["method"] == "heavy ball" else 0.0
    of_minimizer = row["kappa"] / config.accuracy if row["run_on"] == "examples" else 0.0
    return float(1e-8 + eps * (steps + splitting + of_minimizer))


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Above: kappa by preprocessing. Below: steps against kappa, lines predicted, dots run, rings not run."""
    figure, (above, below) = maker.axes(2, 1, height=7.0, gridspec_kw={"height_ratios": [1, 1.5]})
    places = np.arange(len(datasets.SCALINGS))[::-1]
    for color, table in enumerate(config.tables, start=3):
        kappas = _kappas(rows, table)
        above.plot(kappas, places, color=maker.color(color), linewidth=0.8)
        maker.measured(above, kappas, places, color=color, markersize=7)
        above.annotate(table.replace("_", " "), (kappas[0], places[0]), xytext=(0, 8), textcoords="offset points",
                       ha="center", color=maker.color(color))  # fmt: skip
    above.set(xscale="log", xlabel="kappa, with a bias unit", ylim=(-0.5, len(places) - 0.3))
    above.set_yticks(places, datasets.SCALINGS)
    dense = np.geomspace(1.001, 3 * max(rows.having("method")["kappa"]), 300)
    for color, (method, runs) in enumerate(rows.by("method").items()):
        steps = METHODS[method][1](dense, 1.0).steps_to(config.accuracy)
        maker.predicted(below, dense, steps, color=color, label=method)
        for finished, fill, name in ((True, maker.color(color), "measured"), (False, "white", "exact")):
            some = runs.where(finished=finished)
            maker.measured(below, some["kappa"], some[name], color=color, markerfacecolor=fill,
                           markeredgecolor=maker.color(color), markersize=5)  # fmt: skip
    below.set(xscale="log", yscale="log", ylim=(0.5, None), xlabel="kappa", ylabel=f"steps to {config.accuracy:g}",
              title="line: from kappa; dot: run; ring: from the modes, not run")  # fmt: skip
    return figure


def caption(config: Config, rows: Rows) -> str:
    table = config.tables[0]
    first, last = (rows.only(table=table, kind=kind, method="gradient descent") for kind in ("raw", "standardize"))
    how = "" if first["finished"] else " (computed)"
    return (
        f"On {table.replace('_', ' ')}, standardizing the inputs takes kappa from {first['kappa']:.3g} to"
        f" {last['kappa']:.4g}, and gradient descent from {first['exact']:.3g}{how} to {last['measured']:.0f} steps,"
        f" within the {first['predicted']:.2g} and {last['predicted']:.0f} that kappa alone allows; whitening takes"
        " them to 1 and a single step."
    )


def _trained(config: Config, table: str, kind: str, checkpoints: training.Checkpoints) -> list[Row]:
    """One row for each method on one table after one preprocessing."""
    source = datasets.load_table(table)
    inputs = datasets.fit_scaling(kind, source.features, source.feature_names)(source.features)
    matrix = np.column_stack([inputs, np.ones(len(inputs))])
    left, singular, _ = np.linalg.svd(matrix, full_matrices=False)
    eigenvalues, modes = singular**2 / len(matrix), (left.T @ source.targets) / singular
    on_data = objectives.linear_regression(matrix, source.targets)
    on_modes, rows = objectives.quadratic(eigenvalues, start=modes), []
    for method, (rule, tune) in METHODS.items():
        tuning = tune(eigenvalues[0], eigenvalues[-1])
        hyper = {"learning_rate": float(tuning.learning_rate)}
        if method == "heavy ball":
            hyper["rho"] = float(tuning.rho)
        exact = _first_below(config, tuning, eigenvalues, modes)
        finished = exact <= config.max_steps
        steps = RECORDS * -(-int(1.05 * exact if finished else config.max_steps) // RECORDS)
        problem = on_data if finished and steps <= config.data_steps else on_modes
        trace = training.run(
            problem, rule, hyper, steps=steps, every=steps // RECORDS, execution=training.Execution(segments=1),
            probes=[training.loss(), training.distance()], feasibility=training.Feasibility(blow_up=np.inf),
            folder=checkpoints.of(f"{table} {kind} {method}"),
        )  # fmt: skip
        distance, curve = trace["distance"][0], _distances(trace.steps, tuning, eigenvalues, modes)
        goal = config.accuracy * curve[0]
        enough = tuning.steps_to(config.accuracy)
        if method == "heavy ball":
            enough = theory.rates.sufficient_heavy_ball_steps(config.accuracy, tuning)
        rows.append({
            "table": table, "kind": kind, "method": method, "kappa": float(eigenvalues[0] / eigenvalues[-1]), **hyper,
            "run_on": "examples" if problem is on_data else "modes", "finished": finished, "steps_run": steps,
            "predicted": max(1.0, float(tuning.steps_to(config.accuracy))),
            "bound": np.ceil(max(1.0, float(enough))), "exact": exact,
            "measured": float(trace.first_step_below("distance", goal)[0]), "every": steps // RECORDS,
            "steps": trace.steps, "distance": distance / curve[0],
            "difference": float((np.abs(distance - curve) / np.maximum(curve, goal)).max()),
        })  # fmt: skip
    return rows


def _distances(
    steps: np.ndarray, tuning: theory.rates.Tuning, eigenvalues: np.ndarray, modes: np.ndarray
) -> np.ndarray:
    """Exact distance to the minimizer after any numbers of steps."""
    responses = theory.modes.mode_value(steps[:, None], float(tuning.learning_rate), eigenvalues, float(tuning.rho))
    return np.linalg.norm(responses * modes, axis=1)


def _first_below(config: Config, tuning: theory.rates.Tuning, eigenvalues: np.ndarray, modes: np.ndarray) -> float:
    """The number of steps to the accuracy from the exact curve, to 0.2 %."""
    guess = max(float(tuning.steps_to(config.accuracy)), 5.0)
    low = max(1.0, guess / 1000)
    steps = np.unique(np.geomspace(low, 4 * guess, 1 + int(500 * np.log(4 * guess / low))).astype(np.int64))
    curve = _distances(np.concatenate([[0], steps]), tuning, eigenvalues, modes)
    return float(steps[np.argmax(curve[1:] <= config.accuracy * curve[0])])


def _population() -> Row:
    """The second moments of inputs with mean m and variance 1, and a bias unit: eigenvalues against the closed form."""
    differences = []
    for size in MEAN_NORMS:
        mean = np.append(np.full(50, size / np.sqrt(50)), 1.0)
        eigenvalues = np.linalg.eigvalsh(np.outer(mean, mean) + np.diag(np.append(np.ones(50), 0.0)))
        differences.append(eigenvalues[-1] / eigenvalues[0] / theory.preprocessing.condition_number_with_bias(size) - 1)
    return {"kind": "population", "difference": float(np.abs(differences).max())}


def _sample(config: Config) -> Row:
    num, dim = config.sample_examples, config.sample_dim
    inputs = np.random.default_rng(config.seed).normal(1.0, 1.0, (num, dim))
    problem = objectives.linear_regression(np.column_stack([inputs, np.ones(num)]), inputs[:, 0])
    error = np.hypot(np.sqrt(2 / (num - dim)), 4 / np.sqrt(dim * num))
    predicted = float(theory.preprocessing.condition_number_with_bias(np.sqrt(dim))) / (1 - dim / num)
    return {"kind": "sample", "kappa": float(problem.truth.condition_number), "predicted": predicted,  # pyrefly: ignore
            "tolerance": float(4 * error + 2 / dim)}  # fmt: skip


def _kappas(rows: Rows, table: str) -> np.ndarray:
    """Condition numbers of a table by preprocessing."""
    return rows.where(table=table, method="heavy ball")["kappa"]


if __name__ == "__main__":
    raise SystemExit(main())
