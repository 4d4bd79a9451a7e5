"""A figure inside of a page: only what draws is taken over from an SVG file, whoever wrote it.

Elements, attributes and addresses that are not known to be harmless are left out, so that a file with a script in it
becomes a figure without one.
"""

import math
import re
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup, escape

_DRAWS = frozenset((
    "svg", "g", "defs", "use", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "tspan",
    "title", "desc", "clipPath", "mask", "pattern", "marker", "linearGradient", "radialGradient", "stop", "image",
))  # fmt: skip
_OWN_ADDRESS = re.compile(r"^(#[\w.:-]+|data:image/png;base64,[A-Za-z0-9+/=\s]+)$")
_REFERENCE = re.compile(r"url\(\s*#")
_DANGEROUS = re.compile(r"url\(\s*(?!#)|javascript:|expression\(|@import|\\", re.IGNORECASE)
_OF_THE_FILE = frozenset(["width", "height", "version"])
_REFERRED = re.compile(r"#([\w.:-]+)")
_PLACES = frozenset(["d", "x", "y"])
_WORDS = frozenset(["text", "tspan", "title", "desc"])
_NUMBER = re.compile(r"-?\d+\.\d+")
_SCALED = re.compile(r"scale|matrix")
_FINEST = 1e-4  # of the figure's size, what is still told apart


def inline_svg(svg: str, *, prefix: str, label: str) -> Markup:
    """Makes an SVG file fit to stand inside of a page beside others.

    Its ids get a prefix, so that clip paths of several figures do not collide; its fixed size, metadata, style sheets,
    scripts and links go, as do ids, digits and indents that serve nobody; it becomes an image that `label` describes.

    Args:
      svg: the contents of an SVG file, perhaps a stranger's.
      prefix: what sets its ids apart from those of other figures.
      label: the description for those who cannot see it.

    Returns:
      The `<svg>` element, marked as safe HTML; its own id is the prefix and "-svg".

    Raises:
      ValueError: it is no SVG, or declares entities.
    """
    if "<!ENTITY" in svg:
        raise ValueError("an SVG file with entities is not read")
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError as error:
        raise ValueError(f"it is no SVG: {error}") from None
    if _local(root.tag) != "svg":
        raise ValueError("it is no SVG")
    kept = _kept(root, prefix)
    kept.set("id", f"{prefix}-svg")
    _shorten(kept)
    for name in _OF_THE_FILE & set(kept.attrib):
        del kept.attrib[name]
    body = ElementTree.tostring(kept, encoding="unicode", short_empty_elements=True)
    opening, rest = body.split(">", 1)
    return Markup(f'{opening} role="img" aria-label="{escape(label)}">{rest.strip()}')


def again(image: Markup, *, prefix: str) -> Markup:
    """The same figure once more on a page that holds it, for the eye alone: a reference, not a copy.

    Args:
      image: what `inline_svg` gave.
      prefix: with which.
    """
    box = re.search(r'viewBox="[\d. -]+"', image)
    shape = "" if box is None else f" {box[0]}"
    return Markup(f'<svg{shape} aria-hidden="true"><use href="#{escape(prefix)}-svg"/></svg>')


def _kept(element: ElementTree.Element, prefix: str) -> ElementTree.Element:
    """The element with what draws, its ids and references set apart."""
    copy = ElementTree.Element(_local(element.tag), _attributes(element, prefix))
    copy.text, copy.tail = element.text, element.tail
    for child in element:
        if isinstance(child.tag, str) and _local(child.tag) in _DRAWS:
            copy.append(_kept(child, prefix))
    return copy


def _attributes(element: ElementTree.Element, prefix: str) -> dict[str, str]:
    found = {}
    for name, value in element.attrib.items():
        name = _local(name)
        if name.lower().startswith("on") or _DANGEROUS.search(value):
            continue
        if name == "href":
            if not _OWN_ADDRESS.match(value):
                continue
            value = f"#{prefix}-{value[1:]}" if value.startswith("#") else value
        elif name == "id":
            value = f"{prefix}-{value}"
        found[name] = _REFERENCE.sub(f"url(#{prefix}-", value)
    return found


def _shorten(figure: ElementTree.Element) -> None:
    """Rounds the coordinates, leaves out indents and the ids that nothing refers to.

    A figure whose units change within keeps its digits.
    """
    elements = list(figure.iter())
    referred = {name for each in elements for value in each.attrib.values() for name in _REFERRED.findall(value)}
    size = [float(side) for side in re.findall(r"\d+(?:\.\d+)?", figure.get("viewBox", ""))[2:]]
    is_plain = len(size) == 2 and min(size) > 0 and not any(_SCALED.search(e.get("transform", "")) for e in elements)
    decimals = max(0, -math.floor(math.log10(_FINEST * min(size)))) if is_plain else None
    for element in elements:
        for name in _PLACES & set(element.attrib) if is_plain else ():
            rounded = _NUMBER.sub(lambda number: f"{float(number[0]):.{decimals}f}", element.attrib[name])
            element.set(name, " ".join(rounded.split()))
        if element is not figure and element.get("id") not in referred:
            element.attrib.pop("id", None)
        if element.tag not in _WORDS:
            element.text = None
            for child in element:
                child.tail = None


def _local(tag: Any) -> str:
    """A name without its namespace."""
    return str(tag).rpartition("}")[2]
