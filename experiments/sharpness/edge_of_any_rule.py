"""Do rules whose edge has no closed form settle at the edge of their own linearized step?

What is true: Adam, schedule-free descent and descent in the spectral norm, which is Muon with its steps scaled by the
dual norm of the momentum, do: the rate at which the step from parameters and state to the next ones begins to
oscillate, |mu| = 1, comes down to the rate in use and stays there. Of Adam that rate says more than the radius, which
is never below sqrt(b1) = .95.

Muon without that scaling does not: all its steps are of one length, so that it cannot come to rest, and it jumps to and
fro over the valley; its response to a small change is steepest at the bottom, and the radius at a point is 1 to 8.
Lion's sign has no derivative, and its linearized step says nothing at all. What can be said of both is a number for
finite steps. Over a stretch of the run, curvature takes back a share of what the slope promises,

    1 - (loss before - loss after) / -sum g'u,

which is small while a run goes down smoothly, and comes to 1 at the edge.

Source: Cohen et al. 2021, arXiv 2103.00065; for Adam Cohen et al. 2022, arXiv 2207.14484; for norms other than Euclid's
Islamov et al. 2026, arXiv 2603.05002. The rates and bounds were set on seeds 1 and 2.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab import problems, rules
from jaxopt_lab.core import InputError, Problem, Verdict, require_count
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import AboveZero, Count, OpenUnit, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, at_least, at_most, relative

SMOOTH = ("Adam", "schedule-free", "spectral descent")
FIXED = ("Muon", "Lion")  # steps of one length
TOLERANCE = 0.1
REFERENCE = "Cohen et al. 2021, arXiv 2103.00065"
NORMS = "Islamov et al. 2026, arXiv 2603.05002"
ACCURACY, MODES, CONVERGED = 0.01, 2, 1e-3  # a tenth of the tolerance, and a hundredth


@configclass
class Config:
    """All that can change a number. A tanh perceptron on centred digits, squared error against one-hot classes."""

    width: Count = 20
    """Units in a hidden layer, a count."""
    depth: Count = 4
    """Hidden layers, a count."""
    num_examples: Count = 100
    """Examples, all of them in each step, a count."""
    adam_rate: Annotated[float, AboveZero(name="a rate")] = 0.004
    """Adam's learning rate, in units of a parameter."""
    schedule_free_rate: Annotated[float, AboveZero(name="a rate")] = 4.0
    """That of schedule-free descent, in units of 1 / curvature."""
    spectral_rate: Annotated[float, AboveZero(name="a rate")] = 0.02
    """That of descent in the spectral norm, in units of 1 / curvature in it."""
    muon_rate: Annotated[float, AboveZero(name="a rate")] = 0.002
    """Muon's, in units of a parameter."""
    lion_rate: Annotated[float, AboveZero(name="a rate")] = 0.0005
    """Lion's, in units of a parameter."""
    warm_up: Count = 700
    """Steps in which schedule-free descent's rate rises: its edge is 2 / curvature at first, later ten times that."""
    control: OpenUnit = 0.1
    """The controls' learning rates, a fraction of the others."""
    steps: Count = 2000
    """Length of a run; the last third is judged."""
    num_records: Annotated[int, Whole(6)] = 9
    """Points of a run at which the edge is looked for."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the initial parameters."""

    def __post_init__(self) -> None:
        require_count("edge_of_any_rule", "steps", self.steps, 10 * self.num_records)


PRESETS = {"quick": Config(), "full": Config(steps=4000, num_records=24, seeds=(3, 4, 5, 6))}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a rule, seed and role, with what was found along the run."""
    problem = problems.load_problem(
        "digits-mlp", width=config.width, depth=config.depth, activation="tanh", initializer="xavier_normal",
        criterion="squared", num_examples=config.num_examples, scaling="centre",
    )  # fmt: skip
    rows = []
    for method, (make, rate) in _rules(config).items():
        for seed in config.seeds:
            rows.append(_run(config, problem, method, make, "edge", rate, seed))
            if method in SMOOTH:
                rows.append(_run(config, problem, method, make, "control", config.control * rate, seed))
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The smooth rules at their edge, controls below it; Muon beyond its own, Lion without; finite steps of both."""
    edge, controls = rows.where(role="edge"), rows.where(role="control")
    smooth = {method: edge.where(method=method) for method in SMOOTH}
    fixed = {method: edge.where(method=method) for method in FIXED}
    return [
        *(relative(f"{method} settles at the rate at which its linearized step is at its edge",
                   f"rate over critical rate, furthest off of {len(runs)} runs", 1.0, _furthest(runs["share"]),
                   TOLERANCE, reference=REFERENCE) for method, runs in smooth.items()),
        *(relative(f"{method} settles at radius 1", f"radius, furthest off of {len(runs)} runs", 1.0,
                   _furthest(runs["radius"]), TOLERANCE, reference=REFERENCE) for method, runs in smooth.items()),
        at_most(f"At {config.control:g} of the rate the edge lies out of reach",
                f"largest rate over critical rate of {len(controls)} controls", 0.75, max(controls["share"]),
                reference=REFERENCE),
        # 2.7 and 3.1 at seeds 1 and 2.
        at_least("The linearized step of Muon does not say where it settles",
                 f"radius, least of {len(fixed['Muon'])} runs", 1.5, min(fixed["Muon"]["radius"]), reference=NORMS),
        absolute("The linearized step of Lion says nothing, and is refused", "share of its points", 1.0,
                 min(fixed["Lion"]["refused"])),
        *(relative(f"With {method} curvature takes back what the slope promises",
                   f"share, furthest off of {len(runs)} runs", 1.0, _furthest(runs["taken_back"]), TOLERANCE,
                   reference=NORMS) for method, runs in fixed.items()),
        at_most("At first it takes back little", "largest share of runs of Muon and Lion", 0.5,
                max(max(runs["taken_back_first"]) for runs in fixed.values())),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Above: rate over critical rate, controls faint. Below: the share that curvature takes back."""
    figure, (above, below) = maker.axes(2, 1, height=7.2, sharex=True)
    above.axhline(1.0, color=maker.color(6), linestyle="--", linewidth=1.2)
    for color, method in enumerate((*SMOOTH, *FIXED)):
        for place, row in enumerate(rows.where(method=method)):
            fade = 1.0 if row["role"] == "edge" else 0.35
            if method in (*SMOOTH, "Muon"):
                above.plot(row["steps"], row["shares"], "o-", color=maker.color(color), markersize=4, alpha=fade)
                if place == 0:
                    maker.label(above, config.steps, float(row["shares"][-1]), method, color=color)
            if method in FIXED:
                below.plot(row["steps"], row["taken"], "o-", color=maker.color(color), markersize=4)
                if place == 0:
                    maker.label(below, config.steps, float(row["taken"][-1]), method, color=color)
    above.text(0.98, 0.04, f"faint: {config.control:g} of the rate", ha="right", transform=above.transAxes)
    above.set(ylabel="rate / critical rate", yscale="log", title="Three rules end at the edge of their linearized step")
    below.axhline(1.0, color=maker.color(6), linestyle="--", linewidth=1.2)
    below.set(xlabel="steps", ylabel="taken back by curvature", title="Two jump to and fro instead")
    return figure


def caption(config: Config, rows: Rows) -> str:
    late = rows.where(role="edge").by("method")
    said = ", ".join(f"{method} {np.mean(late[method]['share']):.3f}" for method in SMOOTH)
    taken = " and ".join(f"{np.mean(late[method]['taken_back']):.2f} of {method}'s" for method in FIXED)
    return (
        f"The rate in use over the critical rate of the linearized step, over the last third of a run: {said}; of Muon,"
        f" whose steps are of one length, {np.mean(late['Muon']['share']):.1f}, which is no edge. Of what the slope"
        f" promises curvature takes back {taken}."
    )


def _rules(config: Config) -> dict[str, tuple[Callable[[Any], optax.GradientTransformation], float]]:
    """Name -> (rate -> rule, rate)."""
    return {
        "Adam": (optax.adam, config.adam_rate),
        "schedule-free": (
            partial(optax.contrib.schedule_free_sgd, warmup_steps=config.warm_up), config.schedule_free_rate
        ),
        "spectral descent": (partial(optax.contrib.muon, adaptive=True), config.spectral_rate),
        "Muon": (optax.contrib.muon, config.muon_rate),
        "Lion": (partial(optax.lion, weight_decay=0.0), config.lion_rate),
    }  # fmt: skip


def _run(
    config: Config, problem: Problem, method: str, make: Callable[[Any], optax.GradientTransformation], role: str,
    rate: float, seed: int,
) -> Row:  # fmt: skip
    """A run in as many stretches as there are records, and the edge at the end of each."""
    advance = _advance(problem, make, config.steps // config.num_records)
    params = problem.init(jax.random.key(seed))
    state, found = make(rate).init(params), []
    for _ in range(config.num_records):
        params, state, losses, slopes = advance(rate, params, state)
        taken = 1 - (losses[0] - losses[-1]) / -np.sum(slopes)
        found.append((float(losses[-1]), float(taken), *_edge(problem, make, rate, params, state)))
    loss, taken, radius, share, refused = np.array(found).T
    late = slice(-(config.num_records // 3), None)
    return {
        "method": method, "role": role, "seed": seed, "learning_rate": rate, "rho": 0.0,
        "steps": (1 + np.arange(config.num_records)) * (config.steps // config.num_records), "loss": loss,
        "taken": taken, "radii": radius, "shares": share, "radius": float(np.mean(radius[late])),
        "share": float(np.mean(share[late])), "refused": float(np.mean(refused)),
        "taken_back": float(np.mean(taken[late])), "taken_back_first": float(taken[0]),
    }  # fmt: skip


def _advance(problem: Problem, make: Callable[[Any], optax.GradientTransformation], length: int) -> Callable[..., Any]:
    """(rate, params, state) -> (params, state, losses [length], g'u [length]) of steps on all examples."""

    @jax.jit
    def advance(rate: Any, params: Any, state: Any, data: Any) -> Any:
        rule = make(rate)

        def step(carry: Any, _: None) -> tuple[Any, Any]:
            params, state = carry
            loss, grads = jax.value_and_grad(problem.loss)(params, data, None)
            updates, state = rule.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), (loss, optax.tree.vdot(grads, updates))

        (params, state), (losses, slopes) = jax.lax.scan(step, (params, state), None, length=length)
        return params, state, losses, slopes

    return lambda rate, params, state: advance(jnp.asarray(rate), params, state, problem.data)


def _edge(problem: Problem, make: Callable[..., Any], rate: float, params: Any, state: Any) -> tuple[float, ...]:
    """(radius, rate over critical rate, whether the linearization was refused)."""
    look = {"num_modes": MODES, "tolerance": CONVERGED}
    try:
        found = rules.step_multipliers(problem, make, params, state, rate, **look)
        critical = rules.critical_learning_rate(problem, make, params, state, rate, accuracy=ACCURACY, **look)
    except InputError as error:
        if "do not answer to small changes" not in str(error):
            raise
        return float("nan"), float("nan"), 1.0
    return found.radius, rate / critical.value, 0.0


def _furthest(values: Any) -> float:
    return float(max(np.asarray(values), key=lambda value: abs(float(value) - 1)))


if __name__ == "__main__":
    raise SystemExit(main())
