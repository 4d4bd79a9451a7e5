"""How fast, and how right, are the top eigenvalues and the density of a network's Hessian, beside two PyTorch packages?

    python -m benchmarks.curvature [--peers PYTHON] [--repeats 5] [--folder DIR]

The tanh network 64-280-280-10 (99,690 parameters) on all 1797 digits, float32, at a trained point. Each side runs in a
process of its own, on the same point, batch and number of threads. Times are medians of processor seconds after one run
to warm up; errors are against float64. The peers need an interpreter with `benchmarks/peers/requirements.txt`:

    python -m venv .cache/peers && .cache/peers/bin/pip install -r benchmarks/peers/requirements.txt
"""

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab import curvature, problems, training
from jaxopt_lab.core import Problem, precision
from jaxopt_lab.core.vectors import parameter_paths
from jaxopt_lab.curvature.quadratures import gauss_quadratures

WANTED, TOLERANCE = 5, 1e-5
PROBES, STEPS = 4, 40
HERE = pathlib.Path(__file__).parent


def main() -> None:
    """Runs every side and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=".cache/peers/bin/python", help="interpreter that has the peers")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path(".cache/curvature"))
    parser.add_argument("--side", choices=("point", "jaxopt_lab"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    point = arguments.folder / "point.npz"
    if arguments.side == "point":
        make_point(point)
    elif arguments.side == "jaxopt_lab":
        print(json.dumps(measure(point, arguments.repeats)))
    else:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        own = [sys.executable, "-m", "benchmarks.curvature", "--folder", str(arguments.folder)]
        subprocess.run([*own, "--side", "point"], check=True)
        rows = [_child([*own, "--side", "jaxopt_lab", "--repeats", str(arguments.repeats)])]
        rows += _peers(arguments.peers, point, arguments.repeats)
        _print(rows, np.load(point))


def make_problem() -> Problem:
    """The benchmark's network and data."""
    return problems.load_problem("digits-mlp", width=280, depth=2, activation="tanh", fraction=1.0)


def make_point(path: pathlib.Path) -> None:
    """Trains for 50 steps and stores the point, the data, and the float64 eigenvalues and density."""
    problem = make_problem()
    trace = training.run(
        problem,
        optax.sgd,
        {"learning_rate": 0.1},
        steps=50,
        batch_size=128,
        execution=training.Execution(progress=False),
    )
    params = jax.tree.map(lambda leaf: np.asarray(leaf[0]), trace.params)
    inputs, targets = (np.asarray(leaf) for leaf in problem.data)
    with precision():
        wide = dataclasses.replace(problem, data=(jnp.asarray(inputs, jnp.float64), jnp.asarray(targets)))
        operator = curvature.hessian(wide, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params))
        ends = curvature.eigenpairs(operator, WANTED, tolerance=1e-10)
        rules = gauss_quadratures(operator, 16, 60)
    masses = np.mean([_cumulative(*rule.rule, _places(ends.largest.values)) for rule in rules], axis=0)
    names = parameter_paths(params)
    arrays = dict(zip(names, jax.tree.leaves(params), strict=True))
    np.savez(path, inputs=inputs, targets=targets, values=ends.largest.values, masses=masses, **arrays)


def measure(path: pathlib.Path, repeats: int) -> dict[str, Any]:
    """Our side."""
    stored = np.load(path)
    problem = make_problem()
    like = problem.init(jax.random.key(0))
    leaves = [jnp.asarray(stored[name]) for name in parameter_paths(like)]
    params = jax.tree.structure(like).unflatten(leaves)
    spent = [0.0]

    def fresh(key: int) -> tuple[Any, Any]:
        operator = curvature.hessian(problem, params)
        return operator, jax.random.key(key)

    def top(key: int, verify: bool = False) -> Any:
        operator, seed = fresh(key)
        return curvature.eigenpairs(operator, WANTED, tolerance=TOLERANCE, verify=verify, key=seed)

    def outside(key: int) -> float:
        operator, seed = fresh(key)
        spent[0] = 0.0

        def timed(vector: Any) -> Any:
            jax.block_until_ready(vector)
            began = time.process_time()
            product = jax.block_until_ready(operator.product(vector))
            spent[0] += time.process_time() - began
            return product

        began = time.process_time()
        curvature.eigenpairs(
            dataclasses.replace(operator, product=timed), WANTED, tolerance=TOLERANCE, verify=False, key=seed
        )
        return 1 - spent[0] / (time.process_time() - began)

    def density(key: int) -> Any:
        operator, seed = fresh(key)
        return gauss_quadratures(operator, PROBES, STEPS, seed)

    seconds, ends = _median_seconds(top, repeats)
    verified, checked = _median_seconds(lambda key: top(key, True), repeats)
    density_seconds, rules = _median_seconds(density, repeats)
    outside(0)
    return {
        "side": "jaxopt_lab",
        "top_seconds": seconds,
        "top_products": ends.products,
        "values": ends.largest.values.tolist(),
        "verified_seconds": verified,
        "verified_products": checked.products,
        "outside": float(np.median([outside(k) for k in range(repeats)])),
        "density_seconds": density_seconds,
        "density_products": sum(rule.products for rule in rules),
        "rules": [[part.tolist() for part in rule.rule] for rule in rules],
    }


def _median_seconds(work: Callable[[int], Any], repeats: int) -> tuple[float, Any]:
    """Median processor seconds of `work(key)` after one run to warm up, and the last result."""
    result, seconds = work(0), []
    for k in range(repeats):
        began = time.process_time()
        result = work(k)
        seconds.append(time.process_time() - began)
    return float(np.median(seconds)), result


def _peers(python: str, point: pathlib.Path, repeats: int) -> list[dict[str, Any]]:
    if not pathlib.Path(python).exists():
        print(f"No peers: {python} is not there; see this module's help for how to make it.")
        return []
    script = str(HERE / "peers" / "torch_spectra.py")
    return [_child([python, script, side, str(point), str(repeats)]) for side in ("curvlinops", "hessian_eigenthings")]


def _child(command: list[str]) -> dict[str, Any]:
    environment = os.environ | {"OMP_NUM_THREADS": str(os.cpu_count()), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def _places(values: np.ndarray) -> np.ndarray:
    """Where the cumulative density is compared: from a hundredth to half of the largest eigenvalue, both signs."""
    side = float(values[0]) * np.geomspace(0.01, 0.5, 8)
    return np.sort(np.concatenate([-side, side]))


def _cumulative(nodes: Any, weights: Any, places: np.ndarray) -> np.ndarray:
    return np.array([np.asarray(weights)[np.asarray(nodes) < place].sum() for place in places])


def _print(rows: list[dict[str, Any]], stored: Any) -> None:
    ours = rows[0]
    print(f"{'':22}{'top 5: products':>16}{'cpu s':>8}{'error':>10}{'ratio':>7}", end="")
    print(f"{'density: products':>20}{'cpu s':>8}{'error':>10}{'ratio':>7}")
    for row in rows:
        error = np.abs(np.asarray(row["values"]) / stored["values"] - 1).max()
        masses = np.mean([_cumulative(rule[0], rule[1], _places(stored["values"])) for rule in row["rules"]], axis=0)
        off = np.abs(masses - stored["masses"]).max()
        print(f"{row['side']:22}{row['top_products']:>16}{row['top_seconds']:>8.2f}{error:>10.1e}", end="")
        print(f"{row['top_seconds'] / ours['top_seconds']:>7.2f}{row['density_products']:>20}", end="")
        print(f"{row['density_seconds']:>8.2f}{off:>10.1e}{row['density_seconds'] / ours['density_seconds']:>7.2f}")
    print(f"With the search for copies: {ours['verified_products']} products, {ours['verified_seconds']:.2f} cpu s.")
    print(f"Outside of the products: {ours['outside']:.1%} of the processor seconds of the top 5.")


if __name__ == "__main__":
    main()
