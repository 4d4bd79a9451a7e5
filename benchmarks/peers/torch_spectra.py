"""The same top eigenvalues and density by a PyTorch package: `torch_spectra.py SIDE POINT REPEATS` prints JSON.

Each package gets the loosest setting that gives the top 5 eigenvalues to 1e-5 from each of three random starts, found
beforehand and not timed, and the whole data set as one batch.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

WANTED, TOLERANCE = 5, 1e-5
PROBES, STEPS = 4, 40


def make_model(stored: Any) -> torch.nn.Sequential:
    """The network at the stored point."""
    layers = [("hidden/0", torch.nn.Tanh()), ("hidden/1", torch.nn.Tanh()), ("output", None)]
    modules: list[torch.nn.Module] = []
    for name, activation in layers:
        kernel, bias = (torch.from_numpy(stored[f"{name}/{part}"]) for part in ("kernel", "bias"))
        linear = torch.nn.Linear(*kernel.shape)
        with torch.no_grad():
            linear.weight.copy_(kernel.T)
            linear.bias.copy_(bias)
        modules += [linear] if activation is None else [linear, activation]
    return torch.nn.Sequential(*modules)


def by_curvlinops(model: torch.nn.Module, data: tuple[torch.Tensor, torch.Tensor]) -> tuple[Callable, Callable]:
    """(top(tolerance), density) with curvlinops and scipy's eigsh."""
    import curvlinops
    from curvlinops.papyan2020traces.spectrum import fast_lanczos
    from scipy.sparse.linalg import eigsh

    loss, params = torch.nn.CrossEntropyLoss(), [p for p in model.parameters() if p.requires_grad]

    def operator() -> Any:
        return curvlinops.HessianLinearOperator(model, loss, params, [data], check_deterministic=False)

    def top(setting: float, seed: int) -> tuple[np.ndarray, int]:
        scipy_operator = operator().to_scipy()
        start = np.random.default_rng(seed).normal(size=scipy_operator.shape[0]).astype(scipy_operator.dtype)
        products = [0]
        matvec = scipy_operator._matvec

        def counted(vector: np.ndarray) -> np.ndarray:
            products[0] += 1
            return matvec(vector)

        scipy_operator._matvec = counted
        values = eigsh(scipy_operator, k=WANTED, which="LA", tol=setting, v0=start, return_eigenvectors=False)
        return np.sort(values)[::-1], products[0]

    def density() -> tuple[list[Any], int]:
        matrix = operator()
        rules = [fast_lanczos(matrix, STEPS) for _ in range(PROBES)]
        return [[np.asarray(nodes).tolist(), np.square(np.asarray(vectors)[0]).tolist()] for nodes, vectors in rules], (
            PROBES * STEPS
        )

    top.settings = (3e-2, 1e-2, 3e-3, 1e-3, 1e-4, 1e-5)
    return top, density


def by_eigenthings(model: torch.nn.Module, data: tuple[torch.Tensor, torch.Tensor]) -> tuple[Callable, Callable]:
    """(top(steps), density) with hessian-eigenthings, whose Lanczos takes a fixed number of steps."""
    import hessian_eigenthings as eigenthings

    loss = eigenthings.supervised_loss(torch.nn.CrossEntropyLoss())

    def top(setting: int, seed: int) -> tuple[np.ndarray, int]:
        operator = eigenthings.HessianOperator(model, [data], loss)
        found = eigenthings.lanczos(operator, k=WANTED, max_iter=setting, which="LA", seed=seed)
        return found.eigenvalues.detach().numpy(), found.iterations

    def density() -> tuple[list[Any], int]:
        operator = eigenthings.HessianOperator(model, [data], loss)
        found = eigenthings.spectral_density(operator, num_runs=PROBES, lanczos_steps=STEPS, seed=0)
        return list(zip(found.raw_eigenvalues.tolist(), found.raw_weights.tolist(), strict=True)), PROBES * STEPS

    top.settings = tuple(range(16, 51, 2))
    return top, density


def median_seconds(work: Callable[[int], Any], repeats: int) -> tuple[float, Any]:
    """Median processor seconds of work(seed) after one run to warm up, and the last result."""
    result, seconds = work(0), []
    for seed in range(repeats):
        began = time.process_time()
        result = work(seed)
        seconds.append(time.process_time() - began)
    return float(np.median(seconds)), result


def is_good(top: Callable, setting: Any, expected: np.ndarray) -> bool:
    """Whether a setting reaches the accuracy from three random starts."""
    return all(np.abs(top(setting, seed)[0] / expected - 1).max() < TOLERANCE for seed in range(3))


def main(side: str, path: str, repeats: str) -> None:
    """Prints the measurements."""
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    stored = np.load(path)
    data = (
        torch.from_numpy(stored["inputs"]).reshape(len(stored["inputs"]), -1),
        torch.from_numpy(stored["targets"]).long(),
    )
    top, density = {"curvlinops": by_curvlinops, "hessian_eigenthings": by_eigenthings}[side](make_model(stored), data)
    good = (setting for setting in top.settings if is_good(top, setting, stored["values"]))
    setting = next(good, top.settings[-1])
    seconds, (values, products) = median_seconds(lambda seed: top(setting, seed), int(repeats))
    density_seconds, (rules, density_products) = median_seconds(lambda seed: density(), int(repeats))
    print(
        json.dumps(
            {
                "side": side,
                "setting": setting,
                "top_seconds": seconds,
                "top_products": products,
                "values": values.tolist(),
                "density_seconds": density_seconds,
                "density_products": density_products,
                "rules": rules,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
