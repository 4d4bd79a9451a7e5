"""What the verbs of the command line do: read their options, measure, print, and leave files behind."""

import argparse
import json
import sys
from typing import Any

import jax
import optax

from jaxopt_lab import curvature, problems, training
from jaxopt_lab.core import Problem
from jaxopt_lab.core.errors import require_choice, require_count
from jaxopt_lab.curvature.spectrum import measure_spectrum
from jaxopt_lab.curvature.spectrum_figure import draw_spectrum
from jaxopt_lab.curvature.spectrum_figure import page_of as spectrum_page
from jaxopt_lab.diagnosis.pipeline import diagnose
from jaxopt_lab.diagnosis.proving import prove
from jaxopt_lab.diagnosis.report import lines_of, page_of
from jaxopt_lab.problems.parsing import build_rule, parse_settings
from jaxopt_lab.reporting.figures import house_style, save_png, save_svg
from jaxopt_lab.storage.encoding import to_json
from jaxopt_lab.storage.files import file_name, require_writable, write_text
from jaxopt_lab.storage.folder import environment
from jaxopt_lab.training.progress import log_line

OPERATORS = {"hessian": curvature.hessian, "gauss_newton": curvature.gauss_newton, "fisher": curvature.fisher}


def spectrum_command(options: argparse.Namespace) -> int:
    """`jaxopt-lab spectrum`: prints the summary, and writes spectrum.json, .svg, .png and .html.

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
    settings = parse_settings(options.set, "--set")
    problem = problems.load_problem(options.problem, **settings)
    folder = options.out / f"spectrum-{file_name(problem.name)}"
    require_writable(folder)
    training.enable_compilation_cache()
    params = _parameters(problem, options)
    spectrum = measure_spectrum(
        problem, params, num_largest=options.largest, num_smallest=options.smallest, num_probes=options.probes,
        num_steps=options.steps, max_products=options.max_products, layers=not options.no_layers,
        make_operator=OPERATORS[options.operator], seed=options.seed, log=log_line,
    )  # fmt: skip
    print(spectrum)
    record = {"command": sys.argv[1:], "environment": environment(), **spectrum.to_json()}
    write_text(folder / "spectrum.json", json.dumps(to_json(record), indent=1))
    with house_style() as maker:
        figure = draw_spectrum(spectrum, maker)
        save_svg(figure, folder / "spectrum.svg")
        save_png(figure, folder / "spectrum.png")
    write_text(folder / "spectrum.html", spectrum_page(spectrum))
    print(f"\nFigure: {folder / 'spectrum.svg'}\nPage: {folder / 'spectrum.html'}")
    return 0


def diagnose_command(options: argparse.Namespace) -> int:
    """`jaxopt-lab diagnose`: prints the page, and writes diagnosis.json and diagnosis.html.

    Args:
      options: the parsed words, see `jaxopt-lab diagnose --help`.

    Returns:
      The exit code 0.

    Raises:
      InputError: a wrong option, before anything is measured.
    """
    require_count("diagnose", "--train", options.train, 0)
    require_count("diagnose", "--seed", options.seed, 0)
    require_count("diagnose", "--proofs", options.proofs, 2)
    rule = build_rule(
        options.rule, "diagnose", learning_rate=options.learning_rate,
        **parse_settings(options.rule_set, "--rule-set"),
    )  # fmt: skip
    settings = parse_settings(options.set, "--set")
    problem = problems.load_problem(options.problem, **settings)
    folder = options.out / f"diagnosis-{file_name(problem.name)}"
    require_writable(folder)
    training.enable_compilation_cache()
    given = options.train or options.checkpoint is not None
    params = _parameters(problem, options) if given else None
    setting: dict[str, Any] = {"params": params, "batch_size": options.batch_size}
    found = diagnose(
        problem, rule, **setting, steps=options.steps, seed=options.seed, budget=options.budget,
        seconds=options.seconds, log=log_line,
    )  # fmt: skip
    proofs = []
    if options.prove:
        for finding in found.findings:
            if finding.prescription.change is not None:
                log_line(f"Proving {finding.cause} ...")
                seeds = range(options.seed, options.seed + options.proofs)
                proofs.append(prove(problem, rule, finding, **setting, seeds=list(seeds)))
    record = to_json({"command": sys.argv[1:], "environment": environment()} | found.to_json())
    record["proofs"] = to_json([proof.to_json() for proof in proofs])
    print(json.dumps(record, indent=1) if options.json else "\n".join(lines_of(found, proofs)))
    write_text(folder / "diagnosis.json", json.dumps(record, indent=1))
    write_text(folder / "diagnosis.html", page_of(found, proofs))
    if not options.json:
        print(f"\nPage: {folder / 'diagnosis.html'}")
    return 0


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
