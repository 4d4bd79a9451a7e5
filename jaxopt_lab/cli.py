"""`jaxopt-lab`: the verbs of the command line. Nothing heavy is imported before a verb needs it.

The exit code is 0 when all is well, 1 when a claim fails, 2 for wrong input, 3 for anything else, 130 when stopped.
"""

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

_WRONG_INPUT, _STOPPED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Args:
      argv: the arguments; by default those of the process.

    Returns:
      The exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except KeyboardInterrupt:  # while the packages are imported; later, the verb says what is kept
        sys.stderr.write("Stopped.\n")
        return _STOPPED


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_help())
        return 0
    if words[0] == "--version":
        import importlib.metadata

        print(f"jaxopt-lab {importlib.metadata.version('jaxopt_lab')}")
        return 0
    verb, rest = words[0], words[1:]
    if verb not in _VERBS:
        near = difflib.get_close_matches(verb, _VERBS, n=1, cutoff=0.4)
        remedy = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(_VERBS)}."
        sys.stderr.write(f"jaxopt-lab: there is no verb {verb!r}. {remedy}\n")
        return _WRONG_INPUT
    return _VERBS[verb][0](rest)


def _study(words: list[str]) -> int:
    parser = _parser("study", add_help=not words or words[0].startswith("-"))
    about = "the study, or the path of a file of your own; its options follow, see NAME --help"
    parser.add_argument("name", nargs="?", metavar="NAME", help=about)
    parser.add_argument("--list", action="store_true", help="list the studies and stop")
    _add_experiments(parser)
    options, rest = parser.parse_known_args(words)
    if options.name is None and not options.list:
        parser.error("name a study, or ask for --list")
    from jaxopt_lab.studies import command_line, discovery

    def action() -> int:
        experiments = options.experiments or discovery.studies_folder()
        if options.list:
            for name, path in discovery.list_studies(experiments).items():
                print(f"{path.parent.name}/{name}")
            return 0
        path = discovery.find_study(experiments, options.name)
        own = options.name.endswith(".py")
        known = own or options.experiments in (None, Path("experiments"))
        place = [] if known else ["--experiments", command_line.shown(experiments)]
        program = ["jaxopt-lab", "study", command_line.shown(path) if own else options.name, *place]
        return command_line.run_study(discovery.load_study(path), rest, program)

    return _guarded(action)


def _spectrum(words: list[str]) -> int:
    parser = _parser("spectrum")
    parser.add_argument("problem", metavar="PROBLEM", help="a ready-made problem, or module:function of your own")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="an option of the problem")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="parameters, as training.save_params writes them"
    )
    parser.add_argument("--train", type=int, default=0, metavar="STEPS", help="train this many steps with Adam first")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="Adam's, for --train (default: 0.001)")
    parser.add_argument("--operator", default="hessian", help="hessian, gauss_newton or fisher (default: hessian)")
    parser.add_argument("--largest", type=int, default=10, help="eigenvalues at the upper end (default: 10)")
    parser.add_argument("--smallest", type=int, default=3, help="eigenvalues at the lower end (default: 3)")
    parser.add_argument("--probes", type=int, default=4, help="random probes of the density (default: 4)")
    parser.add_argument("--steps", type=int, default=40, help="products for each probe (default: 40)")
    parser.add_argument(
        "--max-products", type=int, default=300, help="most products for the eigenvalues (default: 300)"
    )
    parser.add_argument("--no-layers", action="store_true", help="leave the layers' own spectra out")
    parser.add_argument("--seed", type=int, default=0, help="seeds initialization, batches and probes (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    options = parser.parse_args(words)
    from jaxopt_lab.diagnosis.command import spectrum_command

    return _guarded(lambda: spectrum_command(options))


def _diagnose(words: list[str]) -> int:
    parser = _parser("diagnose")
    parser.add_argument("problem", metavar="PROBLEM", help="a ready-made problem, or module:function of your own")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="an option of the problem")
    parser.add_argument(
        "--rule", default="sgd", help="a rule of this package or of optax, or module:function of your own"
    )
    parser.add_argument("--learning-rate", type=float, default=0.1, help="of the rule (default: 0.1)")
    parser.add_argument("--rule-set", action="append", default=[], metavar="NAME=VALUE", help="an option of the rule")
    parser.add_argument("--batch-size", type=int, metavar="B", help="examples a step (default: all)")
    parser.add_argument(
        "--steps", type=int, metavar="T", help="length of the short run (default: what the budget gives)"
    )
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="parameters, as training.save_params writes them"
    )
    parser.add_argument(
        "--train", type=int, default=0, metavar="STEPS", help="train this many steps with Adam first, 1e-3"
    )
    parser.add_argument("--budget", type=float, default=200.0, help="gradient-equivalents to spend (default: 200)")
    parser.add_argument(
        "--seconds", type=float, default=120.0, help="seconds after which no new measurement starts (default: 120)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seeds initialization, batches and probes (default: 0)")
    parser.add_argument("--prove", action="store_true", help="run before and after each prescription, paired")
    parser.add_argument("--proofs", type=int, default=3, metavar="SEEDS", help="seeds of each proof (default: 3)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the page")
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    options = parser.parse_args(words)
    from jaxopt_lab.diagnosis.command import diagnose_command

    return _guarded(lambda: diagnose_command(options))


def _sweep(words: list[str]) -> int:
    from jaxopt_lab.search import command

    return _guarded(lambda: command.sweep_command(words))


def _compare(words: list[str]) -> int:
    from jaxopt_lab.compare import command

    return _guarded(lambda: command.compare_command(words))


def _report(words: list[str]) -> int:
    parser = _parser("report")
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="the folder of a study, sweep or comparison, or of several studies"
    )
    parser.add_argument(
        "--tensorboard", type=Path, metavar="DIR", help="also write a summary of each trial of a sweep there"
    )
    parser.add_argument("--wandb", metavar="PROJECT", help="also send a summary of each trial of a sweep there")
    options = parser.parse_args(words)
    from jaxopt_lab import reporting
    from jaxopt_lab.compare.report import write_comparison_page
    from jaxopt_lab.search.report import write_summaries, write_sweep_page
    from jaxopt_lab.storage.files import require_writable
    from jaxopt_lab.storage.folder import kind_of

    def action() -> int:
        damage: list[str] = []
        kind, page = kind_of(options.folder), options.folder / "report.html"
        if kind is not None:
            require_writable(options.folder)
        if options.tensorboard or options.wandb:
            count = write_summaries(options.folder, tensorboard=options.tensorboard, wandb=options.wandb)
            print(f"Summaries: {count} trials")
        if kind == "sweep":
            write_sweep_page(options.folder, damage.append)
        elif kind == "comparison":
            write_comparison_page(options.folder, damage.append)
        else:
            results, failures = reporting.find_results(options.folder)
            reporting.write_page(page, results, failures)
            damage += [failure.message for failure in failures]
        print(f"Report: {page}")
        sys.stderr.write("".join(f"{sentence}\n" for sentence in damage))
        return _WRONG_INPUT if damage else 0

    return _guarded(action)


def _resume(words: list[str]) -> int:
    parser = _parser("resume")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of what was stopped")
    trust = "code of your own that the folder's record names: nothing that it names is run unless you name it too"
    for option in ("--problem", "--rule"):
        parser.add_argument(option, action="append", default=[], metavar="MODULE:FUNCTION", help=trust)
    parser.add_argument("--study", type=Path, metavar="FILE", help="the file of a study that is not in experiments")
    _add_experiments(parser)
    options = parser.parse_args(words)
    from jaxopt_lab.storage.folder import kind_of

    def action() -> int:
        kind, trusted = kind_of(options.folder), [*options.problem, *options.rule]
        if kind == "sweep":
            from jaxopt_lab.search import command

            return command.resume_sweep(options.folder, trusted)
        if kind == "comparison":
            from jaxopt_lab.compare import command

            return command.resume_comparison(options.folder, trusted)
        from jaxopt_lab.studies import command_line, discovery

        return command_line.resume(options.folder, options.experiments or discovery.studies_folder(), options.study)

    return _guarded(action)


def _guarded(action: Callable[[], int]) -> int:
    from jaxopt_lab.core.exits import guarded

    return guarded(action)


def _parser(verb: str, *, add_help: bool = True) -> argparse.ArgumentParser:
    about = _VERBS[verb][1]
    return argparse.ArgumentParser(prog=f"jaxopt-lab {verb}", description=about, add_help=add_help, allow_abbrev=False)


def _add_experiments(parser: argparse.ArgumentParser) -> None:
    where = "where the studies lie (default: experiments, or where there is none those of this package)"
    parser.add_argument("--experiments", type=Path, metavar="DIR", help=where)


def _help() -> str:
    lines = ["usage: jaxopt-lab VERB ...", "", "Why JAX training is slow, in numbers, with a fix that is proven.", ""]
    lines += [f"  {verb:<8} {about}" for verb, (_, about) in _VERBS.items()]
    return "\n".join([*lines, "", "jaxopt-lab VERB --help says more, jaxopt-lab --version which one this is."])


_VERBS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "diagnose": (_diagnose, "Say why training is slow and what fixes it: jaxopt-lab diagnose digits-mlp --rule adam."),
    "spectrum": (_spectrum, "Measure the Hessian's spectrum of a problem: jaxopt-lab spectrum digits-mlp."),
    "sweep": (_sweep, "Try many settings of a rule: jaxopt-lab sweep digits-mlp --space learning_rate=log:1e-3:1."),
    "compare": (
        _compare,
        "Compare rules fairly: jaxopt-lab compare digits-mlp --rules sgd,heavy_ball,adam --budget 300.",
    ),
    "study": (_study, "Run one study, or list them: jaxopt-lab study NAME --preset quick."),
    "report": (_report, "Rebuild report.html from what a results folder holds."),
    "resume": (_resume, "Continue a study, a sweep or a comparison that was stopped."),
}


if __name__ == "__main__":
    raise SystemExit(main())
