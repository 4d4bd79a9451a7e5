"""How fast does the engine step at 1e8 dimensions?

    python -m benchmarks.engine [--dim 100000000] [--steps 200]

Loss and distance every 10 steps, on a diagonal quadratic. For each rule: steps per second in cache-sized chunks and on
the general path, and the general path's share of the roofline: the bytes that a step must move at least (descent 3
vectors, momentum 5) at the bytes per second of a jitted, donated x * a + y in the same process.
"""

import argparse
import resource
from typing import Any

import jax
import numpy as np

from jaxopt_lab import objectives, rules, training
from jaxopt_lab.training import measure_bandwidth
from jaxopt_lab.training.devices import device_kind

REPEATS = 3
RULES: dict[str, tuple[Any, dict[str, float], int]] = {
    "gradient descent": (rules.sgd, {"learning_rate": 1.9}, 3),
    "heavy ball": (rules.heavy_ball, {"learning_rate": 3.8, "rho": 0.9}, 5),
    "Nesterov": (rules.nesterov, {"learning_rate": 0.99, "rho": 0.95}, 5),
}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=100_000_000)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--every", type=int, default=10)
    arguments = parser.parse_args()
    problem = objectives.quadratic(objectives.spectra.log_uniform(arguments.dim, 1e4), start=1.0)
    print(f"jax {jax.__version__}, {device_kind()}, float32, d = {arguments.dim:.0e}")
    print(f"{'rule':18}{'chunks, steps/s':>18}{'general, steps/s':>18}{'share of roofline':>19}{'GB/s':>8}")
    for name, (rule, hyper, num_vectors) in RULES.items():
        speeds: dict[str, list[float]] = {"chunks": [], "vmap": []}
        bandwidths = []
        for loop in ("chunks", "vmap") * REPEATS:
            bandwidths.append(measure_bandwidth(arguments.dim, repeats=5))
            probes = (training.loss(), training.distance())
            trace = training.run(
                problem,
                rule,
                hyper,
                steps=arguments.steps,
                every=arguments.every,
                probes=probes,
                execution=training.Execution(loop=loop, segments=5),
            )
            speeds[loop].append(trace.facts["steps_per_second"])
            del trace
        chunks, general = (float(np.median(speeds[loop])) for loop in ("chunks", "vmap"))
        bandwidth = float(np.median(bandwidths))
        share = general * num_vectors * 4 * arguments.dim / bandwidth
        print(f"{name:18}{chunks:>18.1f}{general:>18.1f}{share:>19.2f}{bandwidth / 1e9:>8.1f}", flush=True)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
