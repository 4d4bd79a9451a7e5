"""Writes the pages of the site that are made from the package itself, into docs/generated (which git ignores).

generated/api/<folder>.rst     every public name of each folder, from its docstring
generated/gallery.md           the figure of each study in a results folder, with its one-line conclusion
generated/examples/<name>.md   the example scripts as text and code
generated/changelog.md, contributing.md, results.md
"""

import inspect
import json
import pathlib
import re
import shutil
import typing
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
_OUTSIDE = {"CHANGELOG.md": "changelog", "CONTRIBUTING.md": "contributing", "benchmarks/RESULTS.md": "results"}


def write_all(docs: pathlib.Path, results: pathlib.Path) -> None:
    """Writes all generated pages.

    Args:
      docs: the folder of the sources; what was generated in it before goes.
      results: a folder of finished studies for the gallery; where there is none, the gallery says how to make one.
    """
    out = docs / "generated"
    shutil.rmtree(out, ignore_errors=True)
    for folder in ("api", "examples", "figures"):
        (out / folder).mkdir(parents=True)
    pages = {f"{name}.md": (ROOT / source).read_text(encoding="utf-8") for source, name in _OUTSIDE.items()}
    pages["gallery.md"] = _gallery(results, out / "figures")
    pages |= {f"api/{name}.rst": text for name, text in _api().items()}
    pages |= {f"examples/{name}.md": text for name, text in _examples().items()}
    pages["more.md"] = "# More\n\n```{toctree}\nresults\nchangelog\ncontributing\n```\n"
    for name, text in pages.items():
        (out / name).write_text(text, encoding="utf-8")


def _api() -> dict[str, str]:
    """One page a folder, in reStructuredText: what its `__all__` names, modules among it member by member."""
    import jaxopt_lab

    folders = [name for name in jaxopt_lab.__all__ if hasattr(getattr(jaxopt_lab, name), "__path__")]
    pages = {name: _folder_page(name, getattr(jaxopt_lab, name)) for name in folders}
    entries = "\n".join(f"   {name}" for name in folders)
    pages["index"] = f"{_title('Reference')}\n\nEvery public name, from its docstring.\n\n.. toctree::\n\n{entries}\n"
    return pages


def _folder_page(name: str, folder: Any) -> str:
    """The folder's public names, then the records that its functions return."""
    parts, told, records = [_title(name), f".. automodule:: jaxopt_lab.{name}\n"], set(), []
    public = {each: getattr(folder, each) for each in folder.__all__}
    for each, thing in sorted(public.items(), key=lambda item: inspect.ismodule(item[1])):
        if inspect.ismodule(thing):
            parts += [_title(each, "-"), f".. automodule:: {thing.__name__}\n   :members:\n"]
        elif inspect.isclass(thing):
            told.add(thing)
            parts.append(f".. autoclass:: jaxopt_lab.{name}.{each}\n   :members:\n")
        elif inspect.isroutine(thing):
            records.append(typing.get_type_hints(thing).get("return"))
            parts.append(f".. autofunction:: jaxopt_lab.{name}.{each}\n")
    for kind in sorted({kind for kind in records if inspect.isclass(kind)} - told, key=lambda kind: kind.__qualname__):
        if kind.__module__.startswith(f"jaxopt_lab.{name}."):
            parts.append(f".. autoclass:: {kind.__module__}.{kind.__qualname__}\n   :members:\n")
    return "\n".join(parts)


def _title(text: str, line: str = "=") -> str:
    return f"{text}\n{line * len(text)}\n"


def _gallery(results: pathlib.Path, figures: pathlib.Path) -> str:
    """The figures of finished studies, each with its conclusion and how many of its claims hold."""
    from jaxopt_lab.reporting.numbers import plain_numbers

    head = "# Gallery\n\nThe figure of each study that was run, with what it shows.\n"
    parts = []
    for record_file in sorted(results.glob("*/study.json")) if results.is_dir() else []:
        record, figure = json.loads(record_file.read_text(encoding="utf-8")), record_file.with_name("figure.svg")
        if "question" not in record or record["status"] != "done" or not figure.is_file():
            continue
        verdicts = json.loads(record_file.with_name("verdicts.json").read_text(encoding="utf-8"))
        holding = sum(verdict["holds"] for verdict in verdicts)
        told = plain_numbers(record["caption"], powers=True)
        shutil.copy(figure, figures / f"{record['study']}.svg")
        parts.append(
            f"## {record['question']}\n\n![{record['study']}](figures/{record['study']}.svg)\n\n{told}\n\n"
            f"`{record['study']}`: {holding} of {len(verdicts)} claims hold.\n"
        )
    if not parts:
        parts = ["There are no results yet: `python -m experiments --preset quick` makes them, then `make docs`.\n"]
    return "\n".join([head, *parts])


def _examples() -> dict[str, str]:
    """Each example in the percent format, its cells turned into text and code."""
    pages = {}
    for path in sorted((ROOT / "examples").glob("*.py")):
        pages[path.stem] = "\n\n".join(map(_cell, re.split(r"(?m)^# %%", path.read_text(encoding="utf-8"))[1:]))
    entries = "\n".join(pages)
    pages["index"] = (
        "# Examples\n\nScripts of at most sixty lines, in `examples/`; they open as notebooks.\n\n"
        f"```{{toctree}}\n{entries}\n```\n"
    )
    return pages


def _cell(cell: str) -> str:
    head, _, body = cell.partition("\n")
    if head.strip() == "[markdown]":
        return re.sub(r"(?m)^# ?", "", body).strip()
    told = f"{head.strip()}\n\n" if head.strip() else ""
    return f"{told}```python\n{body.strip()}\n```"
