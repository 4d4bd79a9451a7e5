"""What do logged curves tell of the reported faults, to a peer and to `diagnose(log=)`, and what does `diagnose` add?

    python -m benchmarks.curves [--peers PYTHON] [--folder DIR] [--seed 13] [--names NAME ...] [--diagnose]

Trains each program of `experiments.diagnosis.field` and logs its loss, gradient norm and validation loss 100 times;
with --diagnose, the programs themselves are diagnosed too (half a minute each). The peer, training-doctor 0.1.0, is in
`benchmarks/peers/requirements.txt`. Its words are counted as any of the causes that they may mean. neuraldbg 1.3.2
cannot be fed: it hooks torch modules, and what explains its events is not in the package.
"""

import argparse
import csv
import json
import pathlib
import subprocess
import warnings

import numpy as np

import jaxopt_lab as lab
from experiments.diagnosis.field import PROGRAMS, Program
from jaxopt_lab import training

MEANINGS = {
    "Learning rate likely too high": ("learning-rate-too-high", "non-finite", "exploding-signal", "gradient-ascent"),
    "Learning rate may be too low": ("learning-rate-too-low", "vanishing-signal", "clipped-steps", "lost-updates"),
    "Gradient instability detected": ("exploding-signal", "learning-rate-too-high", "non-finite", "bad-initialization"),
    "Possible mixed precision instability": ("lost-updates", "non-finite"),
    "Overfitting detected": ("overfitting", "data-mismatch", "train-eval-mismatch"),
    "Unusual train/eval pattern": ("train-eval-mismatch", "data-mismatch"),
    "Training plateau detected": ("plateau", "saddle", "local-minimum", "schedule", "no-gradient"),
    "Early training plateau": ("plateau", "saddle", "bad-initialization", "no-gradient", "vanishing-signal"),
}
CALM = ("healthy", "nothing-found")
RECORDS = 100


def main() -> None:
    """Prints how many are named first, called healthy, and called sick though sound, by each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=".cache/peers/bin/python", help="interpreter that has the peer")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path(".cache/curves"))
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--names", nargs="*", default=[])
    parser.add_argument("--diagnose", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    chosen = {name: PROGRAMS[name] for name in arguments.names or PROGRAMS}
    ours: dict[str, list[tuple[str, ...]]] = {}
    whole: dict[str, list[tuple[str, ...]]] = {}
    for name, program in chosen.items():
        path = arguments.folder / f"{name}.csv"
        if not path.exists():
            _log(program, arguments.seed, path)
        ours[name] = [(cause,) for cause in lab.diagnose(log=path).causes]
        if arguments.diagnose:
            setup = program.build(False, arguments.seed)
            whole[name] = [
                (cause,) for cause in lab.diagnose(setup.problem, setup.rule, batch_size=setup.batch_size).causes
            ]
        print(name, "; ".join(cause for (cause,) in ours[name]), flush=True)
    readers = {"diagnose(log=)": ours} | ({"diagnose": whole} if whole else {})
    if pathlib.Path(arguments.peers).exists():
        script = pathlib.Path(__file__).parent / "peers" / "curve_doctor.py"
        done = subprocess.run([arguments.peers, script, arguments.folder], check=True, capture_output=True, text=True)
        told = json.loads(done.stdout.splitlines()[-1])
        readers["training-doctor"] = {name: [MEANINGS[each] for each in told[name]] or [CALM] for name in chosen}
    for reader, found in readers.items():
        _print(reader, chosen, found)


def _log(program: Program, seed: int, path: pathlib.Path) -> None:
    """Trains the sick program, or the sound one, and writes its curve."""
    setup = program.build(False, seed)
    probes = [training.loss(), training.gradient_norm()]
    if setup.problem.validation is not None:
        probes.append(training.validation_loss())
    every = max(setup.steps // RECORDS, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trace = training.run(
            setup.problem, setup.rule, steps=setup.steps, every=every, batch_size=setup.batch_size,
            probes=probes, execution=training.Execution(progress=False),
        )  # fmt: skip
    names = {"loss": "train_loss", "gradient_norm": "grad_norm", "validation_loss": "eval_loss"}
    columns = {names[key]: np.asarray(values)[0] for key, values in trace.metrics.items()}
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["step", *columns])
        writer.writerows(zip(trace.steps, *columns.values(), strict=True))


def _print(reader: str, chosen: dict[str, Program], found: dict[str, list[tuple[str, ...]]]) -> None:
    sick = [name for name, program in chosen.items() if not program.is_sound]
    first = sum(bool(set(found[name][0]) & set(chosen[name].causes)) for name in sick)
    missed = sum(bool(set(found[name][0]) & set(CALM)) for name in sick)
    sound = [name for name in chosen if name not in sick]
    alarms = sum(not set(found[name][0]) & set(CALM) for name in sound)
    print(
        f"{reader:18} first {first} of {len(sick)}, called healthy {missed};"
        f" of {len(sound)} sound ones called sick {alarms}"
    )


if __name__ == "__main__":
    main()
