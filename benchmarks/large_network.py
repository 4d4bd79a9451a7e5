"""What do the top eigenvalues and the density of a network with 1e8 parameters cost, in products and in memory?

    python -m benchmarks.large_network [--width 9970] [--examples 256] [--vectors 24] [--steps 20]

The tanh network 64-width-width-10 on digits, float32, after a few steps of gradient descent. The density keeps no
basis: its memory does not grow with its steps.
"""

import argparse
import resource
import time

import jax
import optax

from jaxopt_lab import curvature, problems, training
from jaxopt_lab.core import vectors
from jaxopt_lab.training.devices import device_kind

WANTED, TOLERANCE, PROBES = 5, 1e-4, 2
TRAINING = {"steps": 20, "batch_size": 64}


def main() -> None:
    """Prints products, seconds and peak memory after each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=9970)
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--vectors", type=int, default=24, help="the most vectors of the search for eigenvalues")
    parser.add_argument("--steps", type=int, default=20, help="products a probe of the density")
    arguments = parser.parse_args()
    problem = problems.load_problem("digits-mlp", width=arguments.width, depth=2, activation="tanh")
    data = jax.tree.map(lambda leaf: leaf[: arguments.examples], problem.data)
    quiet = training.Execution(progress=False)
    began = time.perf_counter()
    trace = training.run(problem, optax.sgd, {"learning_rate": 0.01}, execution=quiet, **TRAINING)
    params = jax.tree.map(lambda leaf: leaf[0], trace.params)
    del trace
    print(f"jax {jax.__version__}, {device_kind()}, {vectors.size(params):,} parameters, {arguments.examples} examples")
    _say("trained", 0, began)
    began = time.perf_counter()
    operator = curvature.hessian(problem, params, data=data)
    ends = curvature.eigenpairs(
        operator, WANTED, tolerance=TOLERANCE, max_vectors=arguments.vectors, verify=False, max_products=60
    )
    _say(f"top {WANTED}", ends.products, began)
    for value, error, converged in zip(ends.largest.values, ends.largest.errors, ends.largest.converged, strict=True):
        print(f"  {value:.6g} +- {error:.1g}{'' if converged else ' (not converged)'}")
    del ends
    began = time.perf_counter()
    density = curvature.spectral_density(
        operator, axis="log", num_probes=PROBES, num_steps=arguments.steps, basis="none"
    )
    _say("density", density.products, began)
    print(f"  {density.near_zero:.3%} of the eigenvalues are near zero")


def _say(what: str, products: int, began: float) -> None:
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rate = f", {products} products, {products / seconds:.3f} a second" if products else ""
    print(f"{what}: {seconds:.0f} s{rate}; peak memory so far {peak:.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
