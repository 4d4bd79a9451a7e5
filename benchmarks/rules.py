"""How near to the memory's speed does one update of each rule come?

    python -m benchmarks.rules [--dims 1000000 100000000] [--only heavy_ball]

For each rule: the bytes that an update must move at least (gradient read, parameters and state vectors read and
written) over its time, as a share of the bytes per second of a jitted, donated x * a + y timed in turn with it.
Medians.
"""

import argparse
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab.rules import REGISTRY
from jaxopt_lab.training.devices import device_kind

OPTAX = {
    "optax sgd": lambda: optax.sgd(0.1),
    "optax momentum": lambda: optax.sgd(0.1, momentum=0.9),
    "optax nesterov": lambda: optax.sgd(0.1, momentum=0.9, nesterov=True),
    "optax adam": lambda: optax.adam(0.1),
}


def one_step(rule: optax.GradientTransformation) -> Callable[..., Any]:
    """A jitted update of donated parameters and state."""
    rule = optax.with_extra_args_support(rule)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = rule.update(grads, state, params, grad_fn=lambda point: grads, value=jnp.float32(1))
        return optax.apply_updates(params, updates), state

    return step


def share_of_memory_speed(rule: optax.GradientTransformation, dim: int, repeats: int) -> tuple[float, float]:
    """(share, milliseconds) of one update at `dim` float32 parameters."""
    plain = functools.partial(jax.jit, donate_argnums=0)(lambda x, y: x * jnp.float32(0.999) + y)
    params, grads = jnp.ones(dim, jnp.float32), jnp.full(dim, 1e-3, jnp.float32)
    state = rule.init(params)
    num_vectors = sum(leaf.size == dim for leaf in jax.tree.leaves(state))
    step, times, reference = one_step(rule), [], []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        params, state = jax.block_until_ready(step(params, state, grads))
        times.append(time.perf_counter() - began)
        began = time.perf_counter()
        params = jax.block_until_ready(plain(params, grads))
        reference.append(time.perf_counter() - began)
    seconds, seconds_plain = np.median(times[2:]), np.median(reference[2:])
    return float((3 + 2 * num_vectors) / 3 * seconds_plain / seconds), float(seconds * 1e3)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dims", type=int, nargs="+", default=[1_000_000, 100_000_000])
    parser.add_argument("--only", nargs="*", default=None, help="names of rules")
    arguments = parser.parse_args()
    print(f"jax {jax.__version__}, optax {optax.__version__}, {device_kind()}, float32")
    print(f"{'rule':24}" + "".join(f"{f'd = {dim:.0e}':>26}" for dim in arguments.dims))
    rules = {name: spec.build for name, spec in REGISTRY.items()} | OPTAX
    for name, build in rules.items():
        if arguments.only and name not in arguments.only:
            continue
        found = [share_of_memory_speed(build(), dim, 9 if dim > 1e7 else 101) for dim in arguments.dims]
        print(f"{name:24}" + "".join(f"{share:>14.2f} {ms:>8.3f} ms" for share, ms in found), flush=True)


if __name__ == "__main__":
    main()
