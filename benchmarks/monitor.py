"""What share of a training step does `Monitor` cost?

    python -m benchmarks.monitor [--width 64] [--batch 128] [--steps 2000]

Adam on the perceptron 64-width-width-10 on digits, compiled in one scan over steps: microseconds a step without the
monitor, with it, without the noise scale, and with a sharpness at each record, in turn; medians of processor time (pin
it to one core).
"""

import argparse
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from jaxopt_lab import problems
from jaxopt_lab.core import Problem
from jaxopt_lab.rules import Monitor
from jaxopt_lab.training.devices import device_kind


def training_run(problem: Problem, rule: optax.GradientTransformation, batch: int, steps: int) -> Callable[[], float]:
    """A function that runs `steps` steps and returns the processor seconds."""
    rule, num_examples = optax.with_extra_args_support(rule), problem.num_examples or 0

    def step(carry: Any, key: jax.Array) -> Any:
        params, state, data = carry
        rows = jax.random.randint(key, (batch,), 0, num_examples)
        examples = jax.tree.map(lambda leaf: leaf[rows], data)
        gradient = jax.value_and_grad(lambda point: problem.loss(point, examples, None))
        value, grads = gradient(params)
        updates, state = rule.update(grads, state, params, value=value, grad_fn=lambda point: gradient(point)[1])
        return (optax.apply_updates(params, updates), state, data), None

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def run(params: Any, state: Any, data: Any, keys: jax.Array) -> Any:
        (params, state, _), _ = jax.lax.scan(step, (params, state, data), keys)
        return params, state

    params = problem.init(jax.random.key(0))
    carry = (params, rule.init(params))
    keys = jax.random.split(jax.random.key(1), steps)

    def timed() -> float:
        nonlocal carry
        began = time.process_time()
        carry = jax.block_until_ready(run(*carry, problem.data, keys))
        return time.process_time() - began

    timed()
    return timed


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=31)
    arguments = parser.parse_args()
    problem = problems.load_problem("digits-mlp", width=arguments.width, depth=2)
    adam = optax.adam(1e-3)
    rules = {
        "adam": adam,
        "Monitor(adam)": Monitor(adam, every=arguments.every),
        "Monitor(adam, noise=False)": Monitor(adam, every=arguments.every, noise=False),
        "Monitor(adam, sharpness)": Monitor(adam, every=arguments.every, sharpness_every=arguments.every),
    }
    runs = {name: training_run(problem, rule, arguments.batch, arguments.steps) for name, rule in rules.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(arguments.repeats):
        for name, run in runs.items():
            seconds[name].append(run())
    plain = np.array(seconds["adam"])
    print(f"jax {jax.__version__}, {device_kind()}, width {arguments.width}, batch {arguments.batch}")
    for name, times in seconds.items():
        micro = float(np.median(times)) / arguments.steps * 1e6
        ratio = np.median(np.array(times) / plain)
        print(f"{name:30}{micro:>9.1f} us a step{ratio:>9.3f} times adam's")


if __name__ == "__main__":
    main()
