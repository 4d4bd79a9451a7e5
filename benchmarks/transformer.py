"""What do the top eigenvalues and the density of a transformer of GPT-2's size cost, on an accelerator?

    python -m benchmarks.transformer [--layers 12 --width 768 --vocabulary 50257 --length 1024] [--batch 8] [--chunk 2]

A decoder with tied embeddings (124 million parameters by default), its products in bfloat16, on random tokens of a Zipf
distribution, after a few steps of Adam. Attention is the fused kernel where there is one (`cudnn`): it has no second
derivative, so that products are then central differences of gradients, with their error in every interval. The density
keeps no basis.
"""

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxopt_lab as lab
from jaxopt_lab import curvature, training
from jaxopt_lab.core import vectors
from jaxopt_lab.training.devices import device_kind

WANTED, PROBES, STEPS = 5, 2, 20
HEAD = 64  # numbers of one head


def main() -> None:
    """Prints products, seconds and memory of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768, help="a multiple of 64")
    parser.add_argument("--vocabulary", type=int, default=50257)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--chunk", type=int, default=2, help="sequences at once in a product")
    parser.add_argument(
        "--attention", choices=("cudnn", "xla"), default="cudnn" if jax.default_backend() == "gpu" else "xla"
    )
    arguments = parser.parse_args()
    problem = make_problem(arguments)
    quiet = training.Execution(progress=False)
    trace = training.run(problem, optax.adam(1e-4), steps=10, batch_size=1, every=10, execution=quiet)
    params = jax.tree.map(lambda leaf: leaf[0], trace.params)
    del trace
    print(
        f"jax {jax.__version__}, {device_kind()}, {vectors.size(params):,} parameters, {arguments.attention} attention"
    )
    began = time.perf_counter()
    operator = curvature.hessian(problem, params, chunk_size=arguments.chunk)
    print(*operator.notes, sep="\n", end="\n" if operator.notes else "")
    ends = curvature.eigenpairs(operator, WANTED, tolerance=1e-3, max_vectors=30, max_products=60, verify=False)
    _say(f"top {WANTED}", ends.products, began)
    print(" ", ", ".join(f"{v:.5g} +- {e:.1g}" for v, e in zip(ends.largest.values, ends.largest.errors, strict=True)))
    del ends
    began = time.perf_counter()
    density = curvature.spectral_density(operator, axis="log", num_probes=PROBES, num_steps=STEPS, basis="none")
    _say("density", density.products, began)
    print(f"  {density.near_zero:.2%} of the eigenvalues are near zero")


def make_problem(options: argparse.Namespace) -> lab.Problem:
    """The model's loss on random tokens, the next one being the target."""
    ranks = np.arange(1, options.vocabulary + 1)
    drawn = np.random.default_rng(0).choice(
        options.vocabulary, (options.batch, options.length + 1), p=(1 / ranks) / (1 / ranks).sum()
    )

    def init(key: jax.Array) -> Any:
        width, keys = options.width, iter(jax.random.split(key, 4 * options.layers + 2))
        normal = lambda *shape: 0.02 * jax.random.normal(next(keys), shape)  # noqa: E731
        block = lambda: {  # noqa: E731
            "queries_keys_values": normal(width, 3 * width), "mixed": normal(width, width),
            "wide": normal(width, 4 * width), "narrow": normal(4 * width, width),
            "scales": jnp.ones((2, width)),
        }  # fmt: skip
        return {
            "tokens": normal(options.vocabulary, width), "places": normal(options.length, width),
            "blocks": [block() for _ in range(options.layers)], "scale": jnp.ones(width),
        }  # fmt: skip

    def loss(params: Any, batch: Any, key: Any) -> jax.Array:
        logits = _logits(jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params), batch[:, :-1], options.attention)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), batch[:, 1:])
        return jnp.mean(losses)

    return lab.from_loss(loss, init, jnp.asarray(drawn, jnp.int32), name="transformer")


def _logits(params: Any, tokens: jax.Array, attention: Any) -> jax.Array:
    x = params["tokens"][tokens] + params["places"]
    for block in params["blocks"]:
        x = x + _attend(block, _normalized(x, block["scales"][0]), attention)
        x = x + jax.nn.gelu(_normalized(x, block["scales"][1]) @ block["wide"]) @ block["narrow"]
    return _normalized(x, params["scale"]) @ params["tokens"].T


def _attend(block: Any, x: jax.Array, attention: Any) -> jax.Array:
    heads = (*x.shape[:-1], x.shape[-1] // HEAD, HEAD)
    queries, keys, values = (part.reshape(heads) for part in jnp.split(x @ block["queries_keys_values"], 3, -1))
    mixed = jax.nn.dot_product_attention(queries, keys, values, is_causal=True, implementation=attention)
    return mixed.reshape(x.shape) @ block["mixed"]


def _normalized(x: jax.Array, scale: jax.Array) -> jax.Array:
    return scale * x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + 1e-5)


def _say(what: str, products: int, began: float) -> None:
    seconds = time.perf_counter() - began
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    memory = "" if peak is None else f"; peak memory so far {peak / 2**30:.1f} GiB"
    print(f"{what}: {seconds:.0f} s, {products} products, {products / seconds:.3g} a second{memory}", flush=True)


if __name__ == "__main__":
    main()
