"""What does it cost to leave a saddle with second-order rules, counted honestly?

What the lecture says: the function "will get stuck at the saddle point", and velocity will "carry us through".

What is true: a step that knows the curvature leaves a strict saddle in a number of steps that does not depend on how
flat the saddle is, where gradient descent needs O(1 / |eigenvalue|). But such a step takes products with the Hessian,
and a product costs about two gradients. Counted so, nothing here is far from tuned momentum: Newton-CG costs a little
less, and both need O(1 / sqrt(|eigenvalue|)); saddle-free Newton, which divides by the whole spectrum, costs more. A
search for negative curvature with a fixed number of products finds nothing once the saddle is too flat for them (20 at
an eigenvalue of .001, in an exploratory run), and then costs three times what descent does. And the octopus is no
easier with curvature: each saddle-free Newton step shrinks the next way out by (2 L + damping) / damping, 11 times
here, and only doubles it later, so that the steps from saddle to saddle grow 4.7 times, where descent's grow 2.3 times;
a search from a random vector does not care. Perturbed descent leaves, but where its kicks are as large as the loss is
precise it goes on kicking at the minimum and never arrives.

Cost: gradients (one a step, and those that a rule takes besides) plus `product_cost` times the products, from the
engine's counts. Where a rule has constants, they are set from the objective's own: the rate from its smoothness, the
damping from its gap, cubic Newton's constant from its third derivative. The bounds of the claims were set after
exploratory runs on the same objectives.

Source: Dauphin et al. 2014, arXiv 1406.2572; Nesterov and Polyak 2006; Carmon, Duchi, Hinder and Sidford 2018.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import Problem, Verdict
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Count, Increasing, Positive, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, at_least, at_most, relative

DAUPHIN = "Dauphin et al. 2014, arXiv 1406.2572"
NESTEROV = "Nesterov and Polyak 2006"
CARMON = "Carmon, Duchi, Hinder and Sidford 2018"
DAMPING = 0.1  # of saddle-free Newton, in units of the gap
FALLING = Increasing("hold at least two numbers that decrease", falling=True)


@configclass
class Config:
    """All that can change a number. Every saddle's largest eigenvalue is 1 or 2."""

    gaps: Annotated[tuple[float, ...], FALLING] = (0.1, 0.01, 0.002)
    """|negative eigenvalue| of the planted saddles, which is also their smallest positive one, decreasing."""
    dim: Annotated[int, Whole(3)] = 200
    """Parameters of the planted saddles."""
    offset: Positive = 1e-6
    """Radius of the ball around the planted saddle from which runs start."""
    phase_dim: Annotated[int, Whole(3)] = 1000
    """Parameters of phase retrieval."""
    octopus_dim: Annotated[int, Whole(3)] = 5
    """Saddles in the octopus."""
    num_products: Count = 20
    """Most products a step."""
    product_cost: Positive = 2.0
    """Cost of a Hessian product in gradients; 1.4 to 3 were measured on networks."""
    num_seeds: Count = 2
    """Starts an objective; costs are means over them."""


PRESETS = {
    "quick": Config(),
    "full": Config(gaps=(0.1, 0.01, 0.001, 0.0001), dim=10_000, phase_dim=100_000, octopus_dim=6, num_seeds=5),
    "huge": Config(gaps=(0.01, 0.001), dim=1_000_000, phase_dim=10_000_000, octopus_dim=6, num_seeds=1),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row an objective and method."""
    rows = []
    for name, task in _tasks(config).items():
        for method, (rule, steps) in _rules(config, task).items():
            trace = training.run(
                task.problem, rule, steps=steps, seeds=np.arange(config.num_seeds),
                feasibility=training.Feasibility(np.inf),
                probes=[training.loss(), training.cost()], execution=training.Execution(loop="map"),
            )  # fmt: skip
            rows.append({"objective": name, "method": method, "gap": task.gap}
                        | _costs(config, trace, "escape", task.escaped)
                        | _costs(config, trace, "arrival", task.converged))  # fmt: skip
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """How the cost grows as the saddle flattens, what is cheapest, and who stays in the octopus."""
    names = [f"gap {gap:g}" for gap in config.gaps]
    wide, flat = names[-2:]
    decade = config.gaps[-2] / config.gaps[-1]
    cost = {(row["objective"], row["method"]): row["arrival"] for row in rows}
    gain = [cost[name, "heavy ball"] / cost[name, "Newton-CG"] for name in names]
    newton = rows.where(method="saddle-free Newton", objective=lambda name: name in names)["escape_steps"]
    doubling = np.log(np.sqrt(config.dim) / config.offset) / np.log1p(1 / (1 + DAMPING))
    return [
        relative("Gradient descent needs O(1 / |eigenvalue|) steps", f"cost at {flat} over cost at {wide}", decade,
                 cost[flat, "descent"] / cost[wide, "descent"], 0.1, reference=CARMON),
        relative("Tuned heavy ball needs its root", f"cost at {flat} over cost at {wide}", float(np.sqrt(decade)),
                 cost[flat, "heavy ball"] / cost[wide, "heavy ball"], 0.1, reference=CARMON),
        relative("Saddle-free Newton nearly doubles its distance at each step, however flat the saddle",
                 "most steps to escape, over the gaps", float(doubling), max(newton), 0.1, reference=DAUPHIN),
        at_least("but counted with its products it costs more than tuned heavy ball",
                 f"cost over heavy ball's at {wide}", 1.0,
                 cost[wide, "saddle-free Newton"] / cost[wide, "heavy ball"], reference=DAUPHIN),
        at_least("Newton-CG costs less than tuned heavy ball on every planted saddle",
                 "heavy ball's cost over its own, smallest", 1.0, min(gain), reference=NESTEROV),
        at_most("but not by an order of magnitude", "heavy ball's cost over its own, largest", 10.0, max(gain),
                reference=NESTEROV),
        absolute("Every rule leaves the saddles of phase retrieval and arrives", "smallest share of runs that arrive",
                 1.0, min(rows.where(objective="phase retrieval")["share"]), reference=CARMON),
        absolute("In the octopus saddle-free Newton takes longer than descent", "share of its runs that arrive", 0.0,
                 rows.only(objective="octopus", method="saddle-free Newton")["share"], reference=DAUPHIN),
        at_least("where looking for negative curvature from a random vector is cheaper than descent",
                 "descent's cost over that of negative-curvature steps", 2.0,
                 cost["octopus", "descent"] / cost["octopus", "negative curvature"], reference=CARMON),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """A panel an objective: cost until a run arrives, a line a rule; hollow where it never does."""
    objectives_, longest = rows.by("objective"), max(cost for cost in rows["arrival"] if np.isfinite(cost))
    figure, panels = maker.axes(len(objectives_), height=2.3 * len(objectives_), sharex=True)
    for axes, (name, ours) in zip(panels, objectives_.items(), strict=True):
        places, costs = np.arange(len(ours))[::-1], ours["arrival"]
        known = np.isfinite(costs)
        axes.hlines(places[known], 1, costs[known], color=maker.color(0), linewidth=1)
        maker.measured(axes, costs[known], places[known], color=0)
        for place, cost in zip(places, costs, strict=True):
            text, at, color = (f"{cost:,.0f}", 1.15 * cost, 0) if np.isfinite(cost) else ("not all arrive", 12, 1)
            maker.label(axes, at, place - 0.3, text, color=color)
        axes.set(xscale="log", xlim=(10, 5 * longest), yticks=places, yticklabels=ours["method"],
                 title=name if "gap" not in name else f"planted saddle, |eigenvalue| {name[4:]}")  # fmt: skip
    panels[-1].set_xlabel(f"gradients + {config.product_cost:g} products, until the run arrives")
    return figure


def caption(config: Config, rows: Rows) -> str:
    costs = {row["method"]: row["arrival"] for row in rows.where(objective=f"gap {config.gaps[-1]:g}")}
    return (
        f"On the flattest saddle ({config.gaps[-1]:g}) descent takes {costs['descent']:,.0f} gradients and tuned heavy"
        f" ball {costs['heavy ball']:,.0f}; saddle-free Newton takes the worth of {costs['saddle-free Newton']:,.0f},"
        f" cubic Newton of {costs['cubic Newton']:,.0f}, Newton-CG of {costs['Newton-CG']:,.0f}."
    )


class Task(NamedTuple):
    """An objective and what the rules need to know of it.

    Attributes:
      problem: the objective.
      smoothness: its largest eigenvalue near the run.
      gap: its |negative eigenvalue|.
      lipschitz: a bound on its third derivative near the run.
      reach: how far it is from the saddle to a minimum, roughly.
      escaped: the loss below which the (last) saddle is left.
      converged: the loss at which a run has arrived.
      steps: length of a run of descent.
    """

    problem: Problem
    smoothness: float
    gap: float
    lipschitz: float
    reach: float
    escaped: float
    converged: float
    steps: int


def _tasks(config: Config) -> dict[str, Task]:
    tasks = {}
    for gap in config.gaps:
        spectrum = np.concatenate([[-gap, -gap], np.geomspace(gap, 1, config.dim - 2)])
        # The minima lie at distance 1 along each of the two directions; the third derivative there is 6 gap.
        problem = objectives.quadratic_saddle(spectrum, confinement=gap, radius=config.offset)
        low = problem.truth.minimum or 0.0
        tasks[f"gap {gap:g}"] = Task(problem, 1.0, gap, 6 * gap, 1.0, 0.5 * low, (1 - 1e-6) * low, int(30 / gap))
    phase = objectives.phase_retrieval(config.phase_dim)
    tasks["phase retrieval"] = Task(phase, 6.0, 2.0, 18.0, 1.0, 0.6, 1e-8, 600)
    octopus, size = objectives.octopus(config.octopus_dim), config.octopus_dim
    low = octopus.truth.minimum or 0.0
    tasks["octopus"] = Task(octopus, 8.0, 2.0, 4.0, 10.0, (1 - 0.5 / size) * low, low + 1e-6, 3000)
    return tasks


def _rules(config: Config, task: Task) -> dict[str, tuple[Any, int]]:
    """The rules with constants from the objective, and the length of their runs."""
    gap, reach, most, long, few = task.gap, task.reach, config.num_products, task.steps, 400
    threshold, plain = 1e-2 * gap * reach, rules.sgd(1 / task.smoothness)
    tuning = theory.rates.optimal_heavy_ball(task.smoothness, min(gap, task.smoothness / 10))
    return {
        "descent": (plain, long),
        "heavy ball": (rules.heavy_ball(float(tuning.learning_rate), float(tuning.rho)), long),
        "perturbed": (rules.perturbed(plain, threshold, 1e-2 * reach, wait=50), long),
        "noisy": (rules.noisy(plain, 1e-3 * threshold, decay=1.0), long),
        "negative curvature": (
            rules.negative_curvature_step(plain, threshold, 0.1 * gap, 0.3 * reach, wait=10, num_products=most), long),
        "saddle-free Newton": (rules.saddle_free_newton(1.0, DAMPING * gap, reach, most), few),
        "cubic Newton": (rules.cubic_newton(task.lipschitz, most), few),
        "Newton-CG": (rules.newton_cg(1.0, 1e-3 * gap, 0.3 * reach, 0.1, most), few),
    }  # fmt: skip


def _costs(config: Config, trace: training.Trace, event: str, level: float) -> Row:
    """Mean cost, steps, gradients and products until the loss is below the level; infinite for a run that never is."""
    reached = trace["loss"] < level
    hit, first = reached.any(1), reached.argmax(1)
    extra = np.take_along_axis(trace["cost"], first[:, None, None], axis=1)[:, 0]
    gradients, products = np.where(hit, first + extra[:, 0], np.inf), np.where(hit, extra[:, 1], np.inf)
    found = {
        event: float(np.mean(gradients + config.product_cost * products)),
        f"{event}_steps": float(np.mean(np.where(hit, first, np.inf))),
        f"{event}_gradients": float(np.mean(gradients)), f"{event}_products": float(np.mean(products)),
    }  # fmt: skip
    return found | ({"share": float(hit.mean())} if event == "arrival" else {})


if __name__ == "__main__":
    raise SystemExit(main())
