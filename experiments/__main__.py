"""The main job: `python -m experiments --preset quick` runs the headline studies and writes `results/report.html`.

The exit code is 0 when all claims hold, 1 when one fails, 2 for wrong input, 3 when a study cannot run.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments import HEADLINE


def main(
    argv: Sequence[str] | None = None,
    *,
    folder: Path = Path(__file__).parent,
    headline: Sequence[str] = HEADLINE,
) -> int:
    """Runs the studies that the command line names.

    Args:
      argv: the arguments; by default those of the process.
      folder: where the studies lie.
      headline: the names that run when none is given.

    Returns:
      The exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(words)
    from jaxopt_lab.core import guarded

    return guarded(lambda: _run(options, words, folder, headline))


def _run(options: argparse.Namespace, words: list[str], folder: Path, headline: Sequence[str]) -> int:
    from jaxopt_lab.studies import list_studies, print_line, run_suite

    if options.list:
        for name, path in list_studies(folder).items():
            print(f"{path.parent.name}/{name}{'' if name in headline else '  (with --all)'}")
        return 0
    names = options.only or list(list_studies(folder) if options.all else headline)
    command = shlex.join(["python", "-m", str(__package__), *words])
    return run_suite(names, options.out, options.preset, experiments=folder, command=command, log=print_line)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}",
        description="Runs studies one after another and writes one report over all of them.",
        allow_abbrev=False,
    )
    parser.add_argument("--preset", default="quick", help="the size: quick (default), full or huge")
    parser.add_argument("--out", type=Path, default=Path("results"), help="the folder that holds all results")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="all studies, not only the headline ones")
    which.add_argument("--only", nargs="+", metavar="NAME", help="these studies")
    which.add_argument("--list", action="store_true", help="list the studies and stop")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
