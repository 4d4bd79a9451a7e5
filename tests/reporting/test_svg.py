import re

import pytest

from jaxopt_lab.reporting.svg import inline_svg

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 4 3">'
HOSTILE = {
    "a script": "<script>alert(1)</script>",
    "a script in a group": "<g><script>alert(1)</script></g>",
    "a foreign object": "<foreignObject><body xmlns='http://www.w3.org/1999/xhtml'><script>alert(1)</script></body></foreignObject>",
    "a handler": '<rect onload="alert(1)" ONCLICK="alert(1)"/>',
    "a link": '<a xlink:href="javascript:alert(1)"><rect/></a>',
    "an address": '<use xlink:href="http://evil.example/x.svg#a"/>',
    "an image from elsewhere": '<image href="https://evil.example/a.png"/>',
    "an svg as an image": '<image href="data:image/svg+xml;base64,PHN2Zz4="/>',
    "a style": '<rect style="fill: url(http://evil.example/a)"/>',
    "a style sheet": "<style>@import url(http://evil.example/a.css);</style>",
    "an animation": '<set attributeName="onmouseover" to="alert(1)"/>',
    "a processing instruction": '<?xml-stylesheet href="http://evil.example/a.css"?>',
}


@pytest.mark.parametrize("part", HOSTILE)
def test_nothing_of_a_strangers_figure_acts_or_calls_home(part):
    harmless = "<path id='line' d='M 0 0'/><use href='#line'/>"
    shown = inline_svg(f"{HEAD}{HOSTILE[part]}{harmless}</svg>", prefix="f", label="x")
    for word in ("script", "alert", "evil", "onload", "onclick", "foreign", "@import", "svg+xml"):
        assert word not in shown.lower()
    assert 'id="f-line"' in shown  # what draws is there
    assert 'href="#f-line"' in shown


@pytest.mark.parametrize(
    "text", ["", "no svg", "<html></html>", "<svg", '<!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>']
)
def test_what_is_no_figure_is_refused(text):
    with pytest.raises(ValueError, match=r"no SVG|entities"):
        inline_svg(text, prefix="f", label="x")


def test_labels_and_texts_stay_text():
    shown = inline_svg(f'{HEAD}<text>1 &lt; 2 &amp; "x"</text></svg>', prefix="f", label='a "b" <c>')
    assert "1 &lt; 2 &amp;" in shown
    assert 'aria-label="a &#34;b&#34; &lt;c&gt;"' in shown


def test_what_nobody_sees_of_a_figure_is_left_out():
    head = HEAD.replace("0 0 4 3", "0 0 400 300")
    body = """<g id="none">
     <path d="M 1.234567 2.5  L -3.000001 4"/><text x="1.23456">1.23456 <tspan>and</tspan> more</text>
    </g>"""
    shown = inline_svg(f"{head}{body}</svg>", prefix="f", label="x")
    assert '<g><path d="M 1.23 2.50 L -3.00 4" /><text x="1.23">1.23456 <tspan>and</tspan> more</text></g>' in shown
    for unit in (HEAD.replace("0 0 4 3", "0 0 0.004 0.003"), head + '<g transform="scale(100)"></g>'):
        (place,) = re.findall(r'd="M ([\d.]+)', inline_svg(f"{unit}{body}</svg>", prefix="f", label="x"))
        assert float(place) == pytest.approx(1.234567, abs=4e-7)
