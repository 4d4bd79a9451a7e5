"""Docstrings here are plain text, in which |x|, x_ and a * b stand for themselves; for Sphinx they are escaped."""

import re

_SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Warns|Examples?|References?|Cost|Notes?)\b.*:")
_CODE = re.compile(r"(`+[^`]*`+)")


def as_plain_text(app, what, name, thing, options, lines):
    """The handler of `autodoc-process-docstring`: changes the lines in place, before napoleon reads them."""
    lines[:] = _with_whole_code(lines)
    found, in_example = [], False
    for place, line in enumerate(lines):
        in_example = line.lstrip().startswith(">>>") or (in_example and bool(line.strip()))
        if _begins_formula(lines, place):
            found += ["", "::", ""]
        formula = bool(found) and _is_formula(lines, place)
        found.append(line if in_example or formula else _escaped(line))
        if formula and place + 1 < len(lines) and not _is_formula(lines, place + 1):
            found.append("")
    lines[:] = found


def _with_whole_code(lines):
    """The lines, where code that goes on in the next line is taken back into one."""
    found = []
    for line in lines:
        if found and found[-1].count("`") % 2 and line.strip():
            found[-1] += " " + line.strip()
        else:
            found.append(line)
    return found


def _is_formula(lines, place):
    """Whether a line is set off by four spaces from text of no section."""
    if not lines[place].startswith("    ") or lines[place].lstrip().startswith(">>>"):
        return False
    before = [line for line in lines[:place] if line.strip() and not line.startswith("    ")]
    return bool(before) and not before[-1].startswith(" ") and not _SECTION.match(before[-1])


def _begins_formula(lines, place):
    return _is_formula(lines, place) and (place == 0 or not _is_formula(lines, place - 1))


def _escaped(line):
    """The line with what would be markup outside of code made text."""
    indent = line[: len(line) - len(line.lstrip())]
    parts = _CODE.split(line.lstrip())
    parts[::2] = [_text(part, place) for place, part in enumerate(parts[::2])]
    return indent + "".join(parts)


def _text(text, place):
    head = re.match(r"\*{1,2}\w+:", text) if place == 0 else None  # an argument such as **options, which napoleon reads
    kept, rest = (head[0], text[head.end() :]) if head else ("", text)
    apart = "\\ " if place and text[:1].isalnum() else ""  # a plural's s after code
    return kept + apart + re.sub(r"[|*\\`]|_(?![A-Za-z0-9])", r"\\\g<0>", rest)
