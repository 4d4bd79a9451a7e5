"""`Study`: a question, what is believed, what is true, and the run that measures it; made from the module that has it.

A study is one file, anywhere. Its docstring is the only place for the words:

    <the question, one line>

    What the lecture says: <the belief that is tested; "What is believed:" where it is not a lecture's; optional>

    What is true: <the prediction>

    Source: <where that is from>

and its names are the parts: `Config`, a frozen dataclass of all that can change a number; `run(config)`, or, where its
runs take minutes, `run(config, checkpoints)`, which gives rows; `judge(config, rows)`, which gives verdicts; and, where
wanted, `draw(config, rows, maker)`, `caption(config, rows)`, `facts(config, rows)`, `slider(config, rows)`, and
`PRESETS`, by default "quick" alone with every field as it is.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from jaxopt_lab.core import Verdict, fail
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies.rows import Row, Rows, with_effective_rate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PARAGRAPHS = {
    "What the lecture says:": "belief",
    "What is believed:": "belief",
    "What is true:": "truth",
    "Source:": "reference",
}
_OF_ROWS = ("judge", "draw", "caption", "facts", "slider")
_NEEDED = {
    "question": "Begin the docstring with the question, one line.",
    "truth": 'Write a paragraph of the docstring that starts with "What is true:".',
    "reference": 'Write a paragraph of the docstring that starts with "Source:".',
    "Config": "Write a frozen dataclass `Config` of all that can change a number, each field with a default.",
    "run": "Write `def run(config)`, which returns the rows: dictionaries of numbers, texts and arrays.",
    "judge": "Write `def judge(config, rows)`, which returns verdicts, as those of `studies.verdicts`.",
}


@dataclasses.dataclass(frozen=True)
class Study:
    """One question, from its config to its verdicts.

    Attributes:
      name: the file's name without `.py`.
      question: what is asked, one sentence.
      belief: what is believed, by a lecture for one; or "".
      truth: what is true.
      reference: where the prediction is from.
      config: a frozen dataclass that holds all that can change a number, each field with a default and a unit.
      presets: name -> config instance; among "quick", "full", "huge".
      run: (config, checkpoints) -> rows; a row maps names to numbers, strings, booleans or arrays. `checkpoints` goes
        to a study whose own `run` takes it, and gives each of its runs a place: `training.run(...,
        folder=checkpoints.of("sgd"))`; without it nothing is kept.
      judge: (config, rows) -> verdicts, at least one.
      draw: (config, rows, maker) -> a figure made with `maker.axes()`; None for no figure.
      caption: (config, rows) -> the conclusion, one sentence; None for how many claims hold.
      facts: (config, rows) -> what else `study.json` should record, such as the number of configurations side by
        side (K) or the data's hash.
      slider: (config, rows) -> a slider for the page, of `reporting.sliders.slider`; None for no slider.
      file: where it stands.
    """

    name: str
    question: str
    belief: str
    truth: str
    reference: str
    config: type
    presets: Mapping[str, Any]
    run: Callable[..., Rows]
    judge: Callable[[Any, Any], list[Verdict]]
    draw: "Callable[[Any, Any, FigureMaker], Figure] | None"
    caption: Callable[[Any, Any], str] | None
    facts: Callable[[Any, Any], Mapping[str, Any]]
    slider: Callable[[Any, Any], Mapping[str, Any]] | None
    file: Path

    def __post_init__(self) -> None:
        if not dataclasses.is_dataclass(self.config) or not self.config.__dataclass_params__.frozen:  # pyrefly: ignore
            raise fail(str(self.file), "Config must be a frozen dataclass", "A run must not change its config.")
        wrong = [name for name, preset in self.presets.items() if not isinstance(preset, self.config)]
        if wrong or not self.presets:
            raise fail(str(self.file), "PRESETS must map names to instances of Config", f"Wrong: {wrong}.")


def study_of(module: ModuleType) -> Study:
    """The study that a module holds.

    Rows come out of its `run` with the effective rate beside every learning rate, and go into its other functions as
    `Rows`.

    Raises:
      InputError: something is missing; the message says what to write.
    """
    file = Path(module.__file__ or module.__name__)
    texts = _texts(module.__doc__)
    for name, remedy in _NEEDED.items():
        if not (texts[name] if name in texts else getattr(module, name, None)):
            told = f"the docstring of a study tells its {name}" if name in texts else f"a study has a `{name}`"
            raise fail(str(file), f"{told}, and there is none", remedy)
    parts: dict[str, Any] = {name: _taking_rows(module, name) for name in _OF_ROWS}
    parts |= texts | {"facts": parts["facts"] or _no_facts}
    return Study(
        name=file.stem, config=module.Config, presets=_presets(module, file), file=file,
        run=_run_of(module), **parts,
    )  # fmt: skip


def _run_of(module: ModuleType) -> Callable[..., Rows]:
    def run(config: Any, checkpoints: Any = None) -> Rows:
        if "checkpoints" not in inspect.signature(module.run).parameters:
            return Rows(with_effective_rate(row) for row in module.run(config))
        from jaxopt_lab.training.storage import Checkpoints

        return Rows(with_effective_rate(row) for row in module.run(config, checkpoints or Checkpoints()))

    return run


def _no_facts(config: Any, rows: Any) -> Mapping[str, Any]:
    return {}


def _texts(docstring: str | None) -> dict[str, str]:
    """The question, and each labelled paragraph up to the next label or empty line, as one line of text."""
    question, *lines = inspect.cleandoc(docstring or "").splitlines() or [""]
    texts, part = {"question": question, "belief": "", "truth": "", "reference": ""}, ""
    for line in lines:
        label = next((label for label in _PARAGRAPHS if line.startswith(label)), None)
        part = _PARAGRAPHS[label] if label else part if line.strip() else ""
        if part:
            texts[part] += " " + line.removeprefix(label or "")
    return {part: _sentence(text) for part, text in texts.items()}


def _sentence(text: str) -> str:
    joined = " ".join(text.split())
    return joined[:1].upper() + joined[1:]


def _presets(module: ModuleType, file: Path) -> Mapping[str, Any]:
    if hasattr(module, "PRESETS"):
        return module.PRESETS
    try:
        return {"quick": module.Config()}
    except TypeError:
        raise fail(str(file), "every field of Config must have a default", "Or write PRESETS.") from None


def _taking_rows(module: ModuleType, name: str) -> Callable[..., Any] | None:
    """The module's function of that name, which gets its second argument as `Rows`; None where there is none."""
    function = getattr(module, name, None)
    if function is None:
        return None

    def call(config: Any, rows: list[Row] | Rows, *more: Any) -> Any:
        return function(config, rows if isinstance(rows, Rows) else Rows(rows), *more)

    return call
