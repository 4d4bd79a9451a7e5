"""One of several processes that compute together, for `test_multiprocess`: prints what it finds, bit for bit.

    python -m tests.training.two_processes RANK COUNT PORT WHAT [FOLDER]

WHAT is a comma-separated list of names of `WHAT`. One process takes two devices, each of two takes one: sums over devices
are then of the same two parts, and their bits the same.
"""

import hashlib
import os
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import jaxopt_lab as lab
from jaxopt_lab import curvature, training

DRAW = np.random.default_rng(0)
INPUTS, TARGETS = DRAW.normal(size=(64, 32)).astype("float32"), DRAW.normal(size=64).astype("float32")


def put(array, mesh, *axes):
    return jax.make_array_from_callback(
        array.shape, NamedSharding(mesh, PartitionSpec(*axes)), lambda place: array[place]
    )


def loss(params, batch, key):
    del key
    inputs, targets = batch
    return jnp.mean(jnp.log(jnp.cosh(jnp.sum(inputs * params["w"], axis=1) - targets)))


def setting(kind):
    """A problem whose parameters lie on all devices, and where it is taken."""
    devices = jax.devices()[:2] if jax.process_count() == 1 else jax.devices()
    mesh = Mesh(np.array(devices), ("d",), axis_types=(kind,))
    params = {"w": put(np.linspace(-1, 1, 32).astype("float32"), mesh, "d")}
    data = put(INPUTS, mesh, None, "d"), put(TARGETS, mesh)
    return lab.from_loss(loss, params, data, name="shared"), params


def bits(*values):
    """The bits of numbers that every process has."""
    return hashlib.sha256(b"".join(np.asarray(value).tobytes() for value in values)).hexdigest()[:16]


def parts(tree):
    """Sums that tell a sharded tree, exactly: each device's part is fetched."""
    return [
        jax.jit(lambda leaf: leaf, out_shardings=NamedSharding(leaf.sharding.mesh, PartitionSpec()))(leaf)
        for leaf in jax.tree.leaves(tree)
    ]


def hessian(kind):
    operator = curvature.hessian(*setting(kind))
    return bits(*parts(operator(setting(kind)[1])))


def eigenpairs(kind):
    found = curvature.eigenpairs(curvature.hessian(*setting(kind)), 3)
    return bits(found.largest.values, found.largest.errors)


def journal(kind, folder, slow=0.0):
    """The eigenpairs with a journal that is written at each product; the search sleeps for a while after each."""
    save = curvature.journals.Journal.save

    def slowly(self, state, last=False):
        save(self, state, True)
        time.sleep(slow)

    curvature.journals.Journal.save = slowly
    found = curvature.eigenpairs(curvature.hessian(*setting(kind)), 3, checkpoint=pathlib.Path(folder) / "search.npz")
    return f"{bits(found.largest.values, found.largest.errors)}"


def density(kind):
    return bits(curvature.spectral_density(curvature.hessian(*setting(kind)), num_probes=2, num_steps=10).values)


def trace(kind):
    found = curvature.trace(curvature.hessian(*setting(kind)), num_products=20)
    return bits(found.value, found.standard_error)


def condition(kind):
    return bits(curvature.condition_number(curvature.hessian(*setting(kind))).absolute.value)


def run(kind, folder=None, slow=0.0):
    """A run of 20 steps in three segments, each of which sleeps for a while."""
    problem, params = setting(kind)
    execution = training.Execution(segments=3, checkpoint_seconds=0, progress=False)
    if slow:
        move = training.groups.move

        def slowly(*given, **options):
            time.sleep(slow)
            return move(*given, **options)

        training.groups.move = slowly
    found = lab.run(
        problem, lab.rules.heavy_ball, {"learning_rate": 0.1, "rho": 0.9}, steps=20, params=params, every=2,
        execution=execution, folder=folder,
    )  # fmt: skip
    return bits(found["loss"], *parts(found.params))


WHAT = {name: globals()[name] for name in ("hessian", "eigenpairs", "density", "trace", "condition", "run")}
KEPT = {"run": run, "journal": journal}


def main(rank, count, port, words, folder=None, slow="0"):
    if int(count) > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", int(count), int(rank))
    training.enable_compilation_cache(pathlib.Path(__file__).parents[2] / ".cache" / "xla")
    for word in words.split(","):
        name, _, axes = word.partition(":")
        kind = AxisType.Explicit if axes == "explicit" else AxisType.Auto
        found = KEPT[name](kind, folder, float(slow)) if folder else WHAT[name](kind)
        sys.stdout.write(f"{word} {found}\n")
        sys.stdout.flush()
    os._exit(0)  # without waiting for the others to say good-bye


if __name__ == "__main__":
    main(*sys.argv[1:])
