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
    shown = inline_svg(f"{HEAD}{HOSTILE[part]}<path id='line' d='M 0 0'/></svg>", prefix="f", label="x")
    for word in ("script", "alert", "evil", "onload", "onclick", "foreign", "@import", "svg+xml"):
        assert word not in shown.lower()
    assert 'id="f-line"' in shown  # what draws is there


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
