"""What `jaxopt-lab compare` does: reads its options, compares, prints the verdict, leaves a folder with a page."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxopt_lab import problems, training
from jaxopt_lab.compare import protocol
from jaxopt_lab.compare.candidates import CANDIDATES, Candidate
from jaxopt_lab.compare.plan import SAMPLERS, Protocol, plan_comparison
from jaxopt_lab.compare.report import write_comparison_page
from jaxopt_lab.compare.splits import MEASURES
from jaxopt_lab.core import Problem, fail
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.problems.parsing import (
    add_search_options,
    find_rule,
    parse_settings,
    recorded_argv,
    require_owners,
    require_trusted,
    words_of,
)
from jaxopt_lab.search.command import NOT_KEPT, add_worker_options, require_workers, workers_of
from jaxopt_lab.search.spaces import parse_space
from jaxopt_lab.storage.files import require_writable
from jaxopt_lab.storage.folder import without_options
from jaxopt_lab.training.progress import log_line


def compare_command(words: Sequence[str]) -> int:
    """`jaxopt-lab compare`: prints the verdict and the table, and writes the comparison's folder with its page.

    Args:
      words: the words after the verb, see `jaxopt-lab compare --help`.

    Returns:
      The exit code 0.

    Raises:
      InputError: a wrong option, before anything is run.
    """
    options = _parser().parse_args(list(words))
    return _go(options, words)


def resume_comparison(folder: Path, trusted: Sequence[str] = ()) -> int:
    """Continues a comparison that the command line began, in the same folder, whatever that is named now.

    Args:
      folder: the comparison's folder.
      trusted: what of the user's own code the record may name, each as module:function.

    Returns:
      The exit code.

    Raises:
      InputError: the folder holds no comparison, one that a Python program began, or one that names other code.
    """
    argv = recorded_argv(folder, "comparison")
    options = _parser().parse_args(argv)
    rules = [*_split(options.rules), options.baseline]
    require_trusted(folder, dict.fromkeys(options.problems, "--problem") | dict.fromkeys(rules, "--rule"), trusted)
    return _go(options, argv, folder)


def _go(options: argparse.Namespace, words: Sequence[str], folder: Path | None = None) -> int:
    require_workers("compare", options)
    given = _given(options)
    require_writable(folder or options.out)
    plan = plan_comparison(**given, execution=training.Execution(log=log_line))
    folder, kept = folder or options.out / plan.folder_name, without_options(words, *NOT_KEPT)
    found = protocol.run_comparison(plan, folder, tuple(kept), workers_of("compare", options, folder, take_part, kept))
    sys.stdout.write(f"{found}\nReport: {write_comparison_page(folder)}\n")
    return 0


def take_part(folder: Path, words: Sequence[str]) -> None:
    """What a worker of a comparison does that a command line began.

    Args:
      folder: the comparison's own.
      words: the words after the verb.

    Raises:
      InputError: as `compare_command`.
    """
    given = _given(_parser().parse_args(list(words)))
    protocol.take_part(folder, given | {"execution": training.Execution()})


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `plan_comparison`."""
    chosen, spaces = _split(options.rules), list(options.space)
    rules = {name: _candidate(name, spaces) for name in chosen}
    if len(rules) < len(chosen):
        raise fail("compare", f"--rules names a rule twice: {options.rules}")
    require_owners("compare", "the rule in --space", spaces, [*rules, options.baseline], always=True)
    baseline = {options.baseline: _candidate(options.baseline, spaces)}
    training.enable_compilation_cache()
    return {
        "problems": _problems(options), "rules": rules, "budget": options.budget, "num_trials": options.trials,
        "num_seeds": options.seeds, "num_final_seeds": options.final_seeds, "seed": options.seed,
        "batch_size": options.batch_size, "protocol": Protocol(baseline, options.sampler, measure=options.measure),
    }  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxopt-lab compare", allow_abbrev=False,
        description="Compare rules by one protocol: equal budgets in gradients, one space a rule for all"
        " problems, selection on validation, the winners again on fresh seeds, and a claim only where p < 0.01."
        " Example: jaxopt-lab compare digits-mlp --rules sgd,heavy_ball,adam --budget 300 --batch-size 32.",
    )  # fmt: skip
    add = parser.add_argument
    add("problems", nargs="+", metavar="PROBLEM", help="ready-made problems, or module:function of your own")
    add("--rules", required=True, metavar="A,B,...",
        help=f"what is compared: {', '.join(CANDIDATES)}; with a --space of its own also any other rule of this package"
        " or of optax, or module:function")  # fmt: skip
    add("--budget", type=float, required=True, metavar="N",
        help="gradients of each run; a Hessian product costs 2, a loss 1/3")  # fmt: skip
    add("--final-seeds", type=int, default=10, help="fresh seeds on which the winners run again (default: 10)")
    add("--baseline", default="heavy_ball", metavar="RULE",
        help="the rule whose own search sets the targets (default: heavy_ball)")  # fmt: skip
    add("--space", action="append", default=[], metavar="RULE.NAME=DIMENSION",
        help="a rule's space in place of its default, as in `jaxopt-lab sweep --help`; repeatable")  # fmt: skip
    add("--set", action="append", default=[], metavar="[PROBLEM.]NAME=VALUE",
        help="an option of all problems, or of one")  # fmt: skip
    add("--measure", default="auto",
        help=f"{', '.join(MEASURES)}: 'loss' compares the training loss (default: auto, test data)")  # fmt: skip
    add_worker_options(parser)
    add_search_options(parser, 32, 1, SAMPLERS)
    return parser


def _split(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise fail("compare", f"--rules must be names with commas between them, got {text!r}")
    return [name if ":" in name else name.replace("-", "_") for name in names]


def _candidate(name: str, spaces: Sequence[str]) -> Candidate:
    """The candidate of a name: its default, or with a space from the command line."""
    own = words_of(name, [word for word in spaces if word.startswith(f"{name}.")])
    if not own:
        if name not in CANDIDATES and ":" in name:
            raise fail("compare", f"{name} needs a space", f"Example: --space {name}.learning_rate=log:1e-4:1.")
        require_choice("compare", "a rule without a --space of its own", name, CANDIDATES)
        return CANDIDATES[name]
    known = CANDIDATES.get(name)
    if known is None:
        return Candidate(find_rule(name, "compare"), parse_space(own))
    return Candidate(known.factory, parse_space(own), known.contains, (), known.evaluated, "the command line")


def _problems(options: argparse.Namespace) -> dict[str, Problem]:
    found = {}
    require_owners("compare", "the problem in --set", options.set, options.problems)
    for name in options.problems:
        mine = parse_settings(words_of(name, options.set), "compare")
        problem = problems.load_problem(name, **mine)
        if problem.name in found:
            raise fail("compare", f"two problems share the name {problem.name}")
        found[problem.name] = problem
    return found
