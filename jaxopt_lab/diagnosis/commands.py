"""What the verbs of the command line do: read their options, measure, print, and leave files behind."""

import argparse
import ast
import json
import sys
from typing import Any

import jax
import optax

from jaxopt_lab import curvature, problems, reporting, training
from jaxopt_lab.core import Problem, fail, require_choice, require_count
from jaxopt_lab.diagnosis.figures import draw_spectrum
from jaxopt_lab.diagnosis.spectra import measure_spectrum

OPERATORS = {"hessian": curvature.hessian, "gauss_newton": curvature.gauss_newton, "fisher": curvature.fisher}


def spectrum_command(options: argparse.Namespace) -> int:
    """`jaxopt-lab spectrum`: prints the summary, and writes spectrum.json, spectrum.svg and spectrum.png.

    Args:
      options: the parsed words, see `jaxopt-lab spectrum --help`.

    Returns:
      The exit code 0.

    Raises:
      InputError: a wrong option, before anything is measured.
    """
    require_choice("spectrum", "--operator", options.operator, OPERATORS)
    require_count("spectrum", "--train", options.train, 0)
    require_count("spectrum", "--probes", options.probes, 2)
    require_count("spectrum", "--seed", options.seed, 0)
    settings = parse_settings(options.set)
    training.enable_compilation_cache()
    problem = problems.load_problem(options.problem, **settings)
    params = _parameters(problem, options)
    spectrum = measure_spectrum(
        problem, params, num_largest=options.largest, num_smallest=options.smallest, num_probes=options.probes,
        num_steps=options.steps, max_products=options.max_products, layers=not options.no_layers,
        make_operator=OPERATORS[options.operator], seed=options.seed, say=_say,
    )  # fmt: skip
    print("\n".join(spectrum.lines()))
    folder = options.out / f"spectrum-{problem.name}"
    folder.mkdir(parents=True, exist_ok=True)
    record = {"command": sys.argv[1:], "environment": reporting.environment(), **spectrum.to_json()}
    reporting.write_text(folder / "spectrum.json", json.dumps(reporting.to_json(record), indent=1))
    with reporting.house_style() as maker:
        figure = draw_spectrum(spectrum, maker)
        reporting.save_svg(figure, folder / "spectrum.svg")
        reporting.save_png(figure, folder / "spectrum.png")
    print(f"\nFigure: {folder / 'spectrum.svg'}")
    return 0


def parse_settings(words: list[str]) -> dict[str, Any]:
    """Options of a problem from words NAME=VALUE; a value that is no Python literal is text.

    Raises:
      InputError: a word without "=".

    Example:
      >>> parse_settings(["width=32", "activation=tanh"])
      {'width': 32, 'activation': 'tanh'}
    """
    settings = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise fail("--set", f"an option must be NAME=VALUE, got {word!r}")
        try:
            settings[name.replace("-", "_")] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            settings[name.replace("-", "_")] = value
    return settings


def _parameters(problem: Problem, options: argparse.Namespace) -> Any:
    """The point: from a file or from initialization, after training where that is asked for."""
    params = problem.init(jax.random.fold_in(jax.random.key(options.seed), 0))
    if options.checkpoint is not None:
        params = training.load_params(options.checkpoint, params)
    if not options.train:
        return params
    batch_size = min(128, problem.num_examples) if problem.num_examples else None
    trace = training.run(
        problem, optax.adam, {"learning_rate": options.learning_rate}, steps=options.train, params=params,
        batch_size=batch_size, seeds=options.seed, every=options.train,
    )  # fmt: skip
    return jax.tree.map(lambda leaf: leaf[0], trace.params)


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()
