"""What `jaxopt-lab sweep` does: reads its options, sweeps, prints the best trials, and leaves a folder with a page."""

import argparse
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxopt_lab import problems, training
from jaxopt_lab.core import fail
from jaxopt_lab.core.errors import reason, require_choice, require_count
from jaxopt_lab.problems.parsing import (
    add_search_options,
    find_rule,
    parse_settings,
    recorded_argv,
    require_owners,
    require_trusted,
    words_of,
)
from jaxopt_lab.problems.registry import load_function
from jaxopt_lab.search.plans import SweepPlan, plan_sweep
from jaxopt_lab.search.report import write_sweep_page
from jaxopt_lab.search.samplers import SAMPLERS
from jaxopt_lab.search.schedules import SHAPES, Scheduled, arguments_of
from jaxopt_lab.search.spaces import Space, parse_space
from jaxopt_lab.search.sweeps import run_sweep
from jaxopt_lab.search.trials import Objective
from jaxopt_lab.storage.files import require_writable
from jaxopt_lab.storage.folder import without_options
from jaxopt_lab.training.progress import log_line
from jaxopt_lab.training.workers import Workers, team

NOT_KEPT = ("--out", "--workers", "--executor", "--slurm")
"""Options that change no number: the record of what redoes a sweep does without them."""
SUBMITIT = "submitit"
_OF_ANY_CLUSTER = ("timeout_min", "nodes", "gpus_per_node", "cpus_per_task", "tasks_per_node", "mem_gb", "name")


def sweep_command(words: Sequence[str]) -> int:
    """`jaxopt-lab sweep`: prints the plan and the best trials, and writes the sweep's folder with its page.

    Args:
      words: the words after the verb, see `jaxopt-lab sweep --help`.

    Returns:
      The exit code 0.

    Raises:
      InputError: a wrong option, before anything is run.
    """
    options = _parser().parse_args(list(words))
    return _go(options, words)


def resume_sweep(folder: Path, trusted: Sequence[str] = ()) -> int:
    """Continues a sweep that the command line began, in the same folder, whatever that is named now.

    Args:
      folder: the sweep's folder.
      trusted: what of the user's own code the record may name, each as module:function.

    Returns:
      The exit code.

    Raises:
      InputError: the folder holds no sweep, one that a Python program began, or one that names other code.
    """
    argv = recorded_argv(folder, "sweep")
    options = _parser().parse_args(argv)
    require_trusted(folder, {options.problem: "--problem"} | dict.fromkeys(options.rule, "--rule"), trusted)
    return _go(options, argv, folder)


def _go(options: argparse.Namespace, words: Sequence[str], folder: Path | None = None) -> int:
    require_workers("sweep", options)
    arms = _arms(options)
    require_writable(folder or options.out)
    plan = _plan(options, arms)
    folder, kept = folder or options.out / plan.folder_name, without_options(words, *NOT_KEPT, "--devices")
    sent = [*kept, *([] if options.devices is None else ["--devices", str(options.devices)])]
    print(run_sweep(plan, folder, tuple(kept), workers_of("sweep", options, folder, take_part, sent)))
    print(f"Report: {write_sweep_page(folder)}")
    return 0


def take_part(folder: Path, words: Sequence[str]) -> None:
    """What a process does that `--workers` started: it says nothing, and leaves the page to the one that started it.

    Args:
      folder: the sweep's own.
      words: the words after the verb.

    Raises:
      InputError: as `sweep_command`.
    """
    options = _parser().parse_args(list(words))
    run_sweep(_plan(options, _arms(options), None), folder)


def require_workers(where: str, options: argparse.Namespace) -> None:
    """Raises InputError where processes would share an accelerator, or an executor is not told how many to start."""
    if options.executor is None and options.slurm:
        raise fail(where, "--slurm is of the jobs that --executor submitit starts")
    if options.workers is None:
        if options.executor is not None:
            raise fail(where, "--executor is not told how many workers to start", "Add --workers N.")
        return
    require_count(where, "--workers", options.workers)
    if options.executor is None and jax.default_backend() != "cpu":
        raise fail(
            where, f"--workers starts processes that would share one {jax.default_backend()}",
            "Leave it out: one process takes all local devices.",
        )  # fmt: skip


def add_worker_options(parser: argparse.ArgumentParser) -> None:
    """Adds what says who does the work: --workers, --executor and --slurm."""
    add = parser.add_argument
    add("--workers", type=int, metavar="N",
        help="processes that share the work, on this machine unless there is an --executor; other machines join in by"
        " the same words with the same --out (default: this one alone; changes no bit)")  # fmt: skip
    add("--executor", metavar="NAME",
        help=f"whose the workers are: {SUBMITIT}, with --slurm, or module:function that gives one of"
        " concurrent.futures, Dask or your own")  # fmt: skip
    add("--slurm", action="append", default=[], metavar="NAME=VALUE",
        help="of each job: partition=gpu, timeout_min=60, gpus_per_node=1; repeatable")  # fmt: skip


def workers_of(
    where: str, options: argparse.Namespace, folder: Path, function: Callable[..., None], words: Sequence[str]
) -> Workers | None:
    """The workers that a command line asks for, each of which is sent its words; None for this process alone.

    Args:
      where: the verb, for the errors.
      options: with those of `add_worker_options`.
      folder: what the workers share.
      function: (folder, words) -> None, of a module.
      words: after the verb.

    Raises:
      InputError: an executor that is not there, or that does not take what --slurm says.
    """
    executor = None
    if options.executor == SUBMITIT:
        executor = _submitit(where, folder.with_name(f"{folder.name}-jobs"), parse_settings(options.slurm, "--slurm"))
    elif options.executor is not None:
        executor = load_function(options.executor, where)()
    execution = training.Execution(workers=options.workers, executor=executor)
    return team(where, execution, folder, function, {"words": list(words)})


def _submitit(where: str, folder: Path, settings: dict[str, Any]) -> Any:
    """submitit's executor: SLURM's jobs, or processes where SLURM is not there."""
    try:
        submitit = importlib.import_module(SUBMITIT)
    except ImportError as error:
        raise fail(
            where, f"--executor {SUBMITIT} needs the package {SUBMITIT}", "Install jaxopt-lab[slurm]."
        ) from error
    executor = submitit.AutoExecutor(folder=folder)
    named = {name if name in _OF_ANY_CLUSTER else f"slurm_{name}": value for name, value in settings.items()}
    try:
        executor.update_parameters(**named)
    except Exception as error:
        raise fail(where, f"--slurm holds what {SUBMITIT} does not take {reason(error)}") from error
    return executor


def _plan(options: argparse.Namespace, arms: Any, log: Any = log_line) -> SweepPlan:
    training.enable_compilation_cache()
    problem = problems.load_problem(options.problem, **parse_settings(options.set, "sweep"))
    execution = training.Execution(options.loop, options.width, devices=options.devices, log=log)
    return plan_sweep(
        problem, arms, None, num_trials=options.trials, num_seeds=options.seeds, steps=options.steps,
        batch_size=options.batch_size, sampler=options.sampler, seed=options.seed,
        objective=Objective(options.objective, every=options.every), execution=execution,
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxopt-lab sweep", allow_abbrev=False,
        description="Try many settings of one or more rules: jaxopt-lab sweep digits-mlp --rule heavy_ball"
        " --space learning_rate=effective:1e-3:10 --space rho=one-minus:0:0.99 --batch-size 32.",
    )  # fmt: skip
    add = parser.add_argument
    add("problem", metavar="PROBLEM", help="a ready-made problem, or module:function of your own")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="an option of the problem")
    add(
        "--rule", action="append", default=[], help="a rule of this package or of optax, or module:function; repeatable"
    )
    add("--space", action="append", default=[], metavar="[RULE.]NAME=DIMENSION",
        help="what a hyperparameter may be: log:LOW:HIGH, uniform:, one-minus: (1 - x on a logarithmic scale),"
        " integers:, effective: (learning rate over 1 - rho), choices:A,B, or a number; with RULE. for that one"
        " only")  # fmt: skip
    add("--schedule", metavar="NAME[:ARG=VALUE,...]",
        help=f"the learning rate is the peak of a schedule: {', '.join(SHAPES)}; steps is filled in")  # fmt: skip
    add("--steps", type=int, default=2000, help="steps of each run (default: 2000)")
    add("--objective", default="loss", help="loss, validation_loss, or a metric such as validation_accuracy")
    add("--every", type=int, help="steps between records")
    add("--width", type=int, metavar="K", help="runs side by side (default: chosen, in a long sweep by timing)")
    add("--loop", default="auto", help="vmap, map, step or auto (default: auto)")
    add("--devices", type=int, metavar="N", help="devices that take a chunk each (default: all; changes no bit)")
    add_worker_options(parser)
    add_search_options(parser, 64, 3, SAMPLERS)
    return parser


def _arms(options: argparse.Namespace) -> dict[str, tuple[Any, Space]]:
    names = options.rule or ["sgd"]
    require_owners("sweep", "the rule in --space", options.space, names)
    if not options.space:
        raise fail("sweep", "there is no --space", "Example: --space learning_rate=log:1e-4:1.")
    return {
        name: (_scheduled(find_rule(name, "sweep"), options), parse_space(words_of(name, options.space)))
        for name in names
    }


def _scheduled(factory: Any, options: argparse.Namespace) -> Any:
    if options.schedule is None:
        return factory
    shape, _, rest = options.schedule.partition(":")
    require_choice("sweep", "--schedule", shape, SHAPES)
    given = parse_settings(filter(None, rest.split(",")), "--schedule")
    filled = {"steps": options.steps} if "steps" in arguments_of(shape) else {}
    return Scheduled(factory, shape, **(filled | given))
