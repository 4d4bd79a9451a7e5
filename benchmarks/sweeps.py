"""What does a sweep cost beside the ways in which it is done by hand?

    python -m benchmarks.sweeps [--trials 256] [--few 6]

Processor seconds in one process, the same trials each way: heavy ball on a digits network, learning rate and momentum
at random, the same initialization, batches of random examples, the loss on all examples at the end.

- anew: a new optax rule and a new jitted step for each trial; some trials, scaled up
- Optuna: its sequential loop over one jitted step (where it is installed); some trials, scaled up
- a step: one jitted step in a Python loop; some trials, scaled up
- scan each: one jitted scan for each trial, compiled once
- vmapped scan: one scan over all trials side by side
- sweep: `search.sweep`, with its folder and its lines; bare: the engine on the same chunks, without either

Compilation counts, but for the columns "once more", which repeat the same work in the same process.
"""

import argparse
import dataclasses
import importlib
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab import objectives, problems, rules, search, training
from jaxopt_lab.core import Problem
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.search import random_points
from jaxopt_lab.search.plans import plan_sweep
from jaxopt_lab.training.devices import device_kind

SPACE = search.Space(
    learning_rate=search.effective_rate(1e-3, 10.0), rho=search.one_minus_log_uniform(0.0, 0.99)
)  # fmt: skip
STEPS = 300
FIRST_STEP = """
import time
import jax, optax
from jaxopt_lab import problems, rules, search, training
training.enable_compilation_cache("{cache}")
problem = problems.load_problem("digits-mlp", width=16)
began = time.process_time()
space = search.Space(learning_rate=search.log_uniform(1e-3, 1.0), rho=0.9)
run, spent = training.run, []
def timed(*arguments, **options):
    trace = run(*arguments, **options)
    spent.append(time.process_time() - began)
    return trace
training.run = timed
search.sweep(problem, rules.heavy_ball, space, num_trials=64, num_seeds=1, steps=300, batch_size=32,
             objective=search.Objective(every=300), execution=training.Execution(log=lambda line: None))
print(spent[0])
"""


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=256)
    parser.add_argument("--few", type=int, default=6, help="trials of the slow ways")
    options = parser.parse_args()
    print(f"jax {jax.__version__}, {device_kind()}, float32, {STEPS} steps")
    small = problems.load_problem("digits-mlp", width=16)
    table(small, 32, options.trials, options.few)
    wide = problems.load_problem("digits-mlp", width=64)
    table(wide, 128, max(16, options.trials // 8), 0)
    many_trials()
    first_step()


def table(problem: Problem, batch_size: int, trials: int, few: int) -> None:
    """One network: every way, its seconds, and its ratio to the sweep's."""
    columns = SPACE.columns(random_points(SPACE, trials, 0))
    ways: dict[str, tuple[Callable[[Any], Any], int]] = {}
    if few:
        ways["anew"] = (partial(each_anew, problem, batch_size), few)
        if optuna_is_there():
            ways["Optuna"] = (partial(with_optuna, problem, batch_size), 4 * few)
        ways["a step"] = (partial(by_steps, problem, batch_size), 4 * few)
    ways["scan each"] = (partial(scan_each, problem, batch_size), trials)
    ways["vmapped scan"] = (partial(vmapped_scan, problem, batch_size), trials)
    ways["bare"] = (partial(bare, problem, batch_size), trials)
    ways["sweep"] = (partial(swept, problem, batch_size), trials)
    spent = {}
    for name, (way, count) in ways.items():
        some = {key: column[:count] for key, column in columns.items()}
        seconds = []
        for _ in range(1 if name in ("anew", "Optuna", "a step") else 4):
            began = time.process_time()
            way(some)
            seconds.append(time.process_time() - began)
        spent[name] = (seconds[0] * trials / count, float(np.median(seconds[1:] or seconds)) * trials / count)
    print(f"\n{problem.name}, batches of {batch_size}, {trials} trials")
    print(f"{'way':14}{'cpu seconds':>13}{'of the sweep':>14}{'once more':>12}{'of the sweep':>14}")
    for name, (first, again) in spent.items():
        ratios = (first / spent["sweep"][0], again / spent["sweep"][1])
        print(f"{name:14}{first:>13.2f}{ratios[0]:>14.2f}{again:>12.2f}{ratios[1]:>14.2f}", flush=True)


def each_anew(problem: Problem, batch_size: int, columns: Any) -> None:
    """A new rule and a new jitted step for each trial."""
    for rate, rho in zip(columns["learning_rate"], columns["rho"], strict=True):
        rule = optax.sgd(float(rate), momentum=float(rho))

        @jax.jit
        def step(params: Any, state: Any, key: Any, rule: Any = rule) -> Any:
            grads = jax.grad(problem.loss)(params, batch_of(problem.data, batch_size, key), None)
            updates, state = rule.update(grads, state)
            return optax.apply_updates(params, updates), state

        one_trial(problem, rule.init, step)


def by_steps(problem: Problem, batch_size: int, columns: Any) -> None:
    """One jitted step in a Python loop, hyperparameters traced."""
    for rate, rho in zip(columns["learning_rate"], columns["rho"], strict=True):
        step = partial(jitted_step, batch_size, inputs_of(problem), jnp.float32(rate), jnp.float32(rho))
        one_trial(problem, at_rest, step)


def with_optuna(problem: Problem, batch_size: int, columns: Any) -> None:
    """Optuna's sequential loop over the same jitted step."""
    optuna = importlib.import_module("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: Any) -> float:
        rate = trial.suggest_float("rate", 1e-3, 10.0, log=True)
        kept = trial.suggest_float("kept", 0.01, 1.0, log=True)
        step = partial(jitted_step, batch_size, inputs_of(problem), jnp.float32(rate * kept), jnp.float32(1 - kept))
        loss = one_trial(problem, at_rest, step)
        return loss if np.isfinite(loss) else 1e9

    optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0)).optimize(objective, len(columns["rho"]))


def one_trial(problem: Problem, init: Callable[[Any], Any], step: Callable[..., Any]) -> float:
    """The loss at the end of one trial, by a Python loop over a jitted step."""
    key = jax.random.key(0)
    params = problem.init(key)
    state = init(params)
    for count in range(STEPS):
        params, state = step(params, state, jax.random.fold_in(key, count))
    return float(full_loss(inputs_of(problem), params))


def scan_each(problem: Problem, batch_size: int, columns: Any) -> None:
    """A jitted scan for each trial."""
    start = problem.init(jax.random.key(0))
    for rate, rho in zip(columns["learning_rate"], columns["rho"], strict=True):
        scanned(batch_size, inputs_of(problem), start, jnp.float32(rate), jnp.float32(rho)).block_until_ready()


def vmapped_scan(problem: Problem, batch_size: int, columns: Any) -> None:
    """One scan, all trials side by side."""
    start = problem.init(jax.random.key(0))
    rates, rhos = jnp.float32(columns["learning_rate"]), jnp.float32(columns["rho"])
    side_by_side(batch_size, inputs_of(problem), start, rates, rhos).block_until_ready()


def bare(problem: Problem, batch_size: int, columns: Any) -> None:
    """The engine on the chunks of the sweep: no folder, no lines."""
    asked = training.Execution(keep_final=False, progress=False, share_batches=True)
    plan = plan_sweep(
        problem, rules.heavy_ball, SPACE, num_trials=len(columns["rho"]), sampler="random", seed=0, execution=asked,
        **settings(batch_size),
    )  # fmt: skip
    for chunk in plan.chunks():
        training.run(
            problem, rules.heavy_ball, plan.hyperparameters(chunk), steps=STEPS, seeds=int(plan.seeds[chunk.seed]),
            every=STEPS, batch_size=batch_size, execution=dataclasses.replace(asked, loop=plan.loop, width=plan.width),
        )  # fmt: skip


def swept(problem: Problem, batch_size: int, columns: Any) -> None:
    """The sweep, kept in a folder and told."""
    with tempfile.TemporaryDirectory() as folder:
        search.sweep(
            problem, rules.heavy_ball, SPACE, num_trials=len(columns["rho"]), out=folder,
            execution=training.Execution(log=lambda line: None), **settings(batch_size),
        )  # fmt: skip


def settings(batch_size: int) -> dict[str, Any]:
    """What the sweep and its bare counterpart share."""
    objective = search.Objective(every=STEPS)
    return {"num_seeds": 1, "steps": STEPS, "objective": objective, "batch_size": batch_size}


def inputs_of(problem: Problem) -> Any:
    """The loss and the data as arguments of compiled programs."""
    return as_partial(problem.loss), problem.data


def batch_of(data: Any, batch_size: int, key: jax.Array) -> Any:
    """Random examples, with replacement: the cheapest way to draw them."""
    rows = jax.random.randint(key, (batch_size,), 0, len(jax.tree.leaves(data)[0]))
    return jax.tree.map(lambda leaf: leaf[rows], data)


def at_rest(params: Any) -> Any:
    """A velocity of zeros."""
    return jax.tree.map(jnp.zeros_like, params)


def advanced(batch_size: int, inputs: Any, rate: Any, rho: Any, params: Any, velocity: Any, key: Any) -> Any:
    """One step of heavy ball."""
    loss, data = inputs
    grads = jax.grad(loss)(params, batch_of(data, batch_size, key), None)
    velocity = jax.tree.map(lambda v, g: rho * v + g, velocity, grads)
    return jax.tree.map(lambda x, v: x - rate * v, params, velocity), velocity


def whole_run(batch_size: int, inputs: Any, start: Any, rate: Any, rho: Any) -> jax.Array:
    """One trial as a scan."""

    def body(carry: Any, count: jax.Array) -> Any:
        params, velocity = carry
        key = jax.random.fold_in(jax.random.key(0), count)
        return advanced(batch_size, inputs, rate, rho, params, velocity, key), None

    (params, _), _ = jax.lax.scan(body, (start, at_rest(start)), jnp.arange(STEPS))
    return full_loss(inputs, params)


@jax.jit
def full_loss(inputs: Any, params: Any) -> jax.Array:
    """The loss on all examples."""
    loss, data = inputs
    return loss(params, data, None)


jitted_step = jax.jit(advanced, static_argnums=0)
scanned = jax.jit(whole_run, static_argnums=0)
side_by_side = jax.jit(jax.vmap(whole_run, in_axes=(None, None, None, 0, 0)), static_argnums=0)


def many_trials() -> None:
    """A study of 10,000 trials in two dimensions: its cost per trial stays flat, and its page is made at once."""
    bowl = objectives.quadratic([1.0, 0.1], start=1.0)
    print(f"\n{bowl.name} in 2 dimensions, 1000 steps")
    for trials in (1000, 10_000, 40_000):
        with tempfile.TemporaryDirectory() as folder:
            began = time.process_time()
            found = search.sweep(bowl, rules.heavy_ball, SPACE, num_trials=trials, num_seeds=1, steps=1000, out=folder)
            middle, page = time.process_time(), Path(folder) / "page.html"
            found.save(page)
            size, seconds = page.stat().st_size / 2**10, time.process_time() - middle
        per_trial = 1e3 * (middle - began) / trials
        print(
            f"{trials:>7} trials: {per_trial:.3f} cpu ms a trial; page {seconds:.1f} cpu s, {size:.0f} KiB", flush=True
        )


def first_step() -> None:
    """Processor seconds of a second process, with a warm cache, until its first short run is done."""
    with tempfile.TemporaryDirectory() as cache:
        program = FIRST_STEP.format(cache=cache)
        seconds = [
            float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
            for _ in range(2)
        ]
    print(f"\nfirst steps after imports: {seconds[0]:.2f} cpu s with a cold cache, {seconds[1]:.2f} with a warm one")


def optuna_is_there() -> bool:
    """Whether Optuna can be imported."""
    return importlib.util.find_spec("optuna") is not None


if __name__ == "__main__":
    main()
