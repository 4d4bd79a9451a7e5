"""`Study`: a claim of the lecture, what is true, and the run that measures it."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxopt_lab.core import Verdict, fail
from jaxopt_lab.reporting import FigureMaker

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]


def _no_facts(config: Any, rows: Rows) -> Mapping[str, Any]:
    return {}


@dataclasses.dataclass(frozen=True)
class Study:
    """One claim, from its config to its verdicts.

    Attributes:
      name: the file's name without `.py`.
      question: what is asked, one sentence.
      lecture: what the lecture says.
      truth: what is true.
      reference: where the prediction is from.
      config: a frozen dataclass that holds all that can change a number, each field with a default and a unit.
      presets: name -> config instance; among "quick", "full", "huge".
      run: config -> rows; a row maps names to numbers, strings, booleans or arrays. Where its runs take minutes it
        takes `checkpoints` too, and gives each a place of its own: `training.run(..., folder=checkpoints.of("sgd"))`.
      judge: (config, rows) -> verdicts, at least one.
      draw: (config, rows, maker) -> a figure made with `maker.axes()`.
      caption: (config, rows) -> the conclusion, one sentence.
      facts: (config, rows) -> what else `study.json` should record, such as the number of configurations side by
        side (K) or the data's hash.
    """

    name: str
    question: str
    lecture: str
    truth: str
    reference: str
    config: type
    presets: Mapping[str, Any]
    run: Callable[..., list[dict[str, Any]]]
    judge: Callable[[Any, Rows], list[Verdict]]
    draw: Callable[[Any, Rows, FigureMaker], "Figure"]
    caption: Callable[[Any, Rows], str]
    facts: Callable[[Any, Rows], Mapping[str, Any]] = _no_facts

    def __post_init__(self) -> None:
        if not dataclasses.is_dataclass(self.config) or not self.config.__dataclass_params__.frozen:  # pyrefly: ignore
            raise fail(f"study {self.name}", "config must be a frozen dataclass", "A run must not change its config.")
        wrong = [name for name, preset in self.presets.items() if not isinstance(preset, self.config)]
        if wrong or not self.presets:
            raise fail(f"study {self.name}", f"presets must map names to a {self.config.__name__}", f"Wrong: {wrong}.")

    def rows(self, config: Any, checkpoints: Any = None) -> list[dict[str, Any]]:
        """The rows of a run; `checkpoints` goes to a study whose `run` takes it, and None keeps nothing."""
        if "checkpoints" not in inspect.signature(self.run).parameters:
            return self.run(config)
        from jaxopt_lab import training

        return self.run(config, checkpoints=checkpoints or training.Checkpoints())
