import base64
import dataclasses
import gzip
import html.parser
import math
import pathlib
import re

import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.core.verdict import judge
from jaxopt_lab.reporting import find_results, write_page
from jaxopt_lab.reporting import page as page_module
from jaxopt_lab.reporting.figures import LEAST_CONTRAST, contrast_on_white
from jaxopt_lab.reporting.page import Failure, StudyResult, check_page, inline_svg, page_body, render_page
from jaxopt_lab.storage.files import write_json

SVG = (
    '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "x" "http://www.w3.org/x"><svg xmlns="http://www.w3.org/2000/svg" '
    'xmlns:xlink="http://www.w3.org/1999/xlink" width="4pt" height="3pt" viewBox="0 0 4 3" version="1.1"><metadata>'
    '<a href="http://x"/></metadata><defs><style type="text/css">*{stroke-linejoin: round}</style></defs>'
    '<g id="axes_1" clip-path="url(#p1)"><use xlink:href="#m1" x="1"/></g>'
    '<defs><clipPath id="p1"><rect/></clipPath></defs></svg>'
)
VOID = {"meta", "br"}


class Checker(html.parser.HTMLParser):
    """Notes ids and links, and that every element is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.text = [], [], [], []

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.ids += [named["id"]] if "id" in named else []
        self.links += [named["href"]] if "href" in named else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def result(name="zigzag", *, status="done", holds=True, figure=SVG):
    record = {
        "kind": "jaxopt_lab study",
        "study": name,
        "status": status,
        "preset": "quick",
        "command": f"python experiments/toys/{name}.py",
        "config": {"kappas": [10.0, 1e6, "inf"], "steps": 500, "rotate": False},
        "question": "Does it zigzag when 1 < kappa?",
        "belief": "Yes.",
        "truth": "Only <if> the learning rate of `sgd` is large.",
        "reference": "Nesterov & others",
        "caption": 'A "zigzag".',
        "facts": {"side by side (K)": 16},
        "dtype": "float64",
        "versions": {"python": "3.11", "jax": "0.10.2"},
        "device": {"kind": "cpu", "count": 1, "processors": 2},
        "prng": "threefry2x32",
        "wall_seconds": 1.5,
        "cpu_seconds": 2.5,
    }
    verdicts = [
        judge(f"{name} claim", "rate", 6.5e6, 6.5e6 if holds else math.inf, 0.1, unit="steps"),
        judge(f"{name} other claim", "edge", 0.9801980198, 0.98, 0.1),
    ]
    return StudyResult(f"{name}-abc", record, verdicts if status == "done" else [], figure if status == "done" else "")


def checked(page):
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    return checker


def test_every_element_is_closed_and_every_link_has_a_target():
    page = checked(render_page([result("a"), result("b", figure=""), result("c", holds=False)], [Failure("d", "e")]))
    assert len(page.ids) == len(set(page.ids))
    targets = [link.removeprefix("#") for link in page.links if not link.endswith("m1")]
    assert targets
    assert set(targets) <= set(page.ids)


def test_nothing_comes_from_elsewhere():
    page = render_page([result("a"), result("b")])
    assert not re.search(r"https?:|src=|@import|<link|<script", page)


def test_the_same_results_give_the_same_page():
    assert render_page([result("a"), result("b")]) == render_page([result("a"), result("b")])


def test_the_summary_counts_the_claims():
    page = render_page([result("a"), result("b", holds=False)], [Failure("c", "RuntimeError: fire")], command="make it")
    assert "3 of 4 claims hold" in page
    assert "1 study failed to run" in page
    assert "RuntimeError: fire" in page
    assert "<code>make it</code>" in page


def test_a_card_for_each_study_opens_the_page_and_its_claims_stand_behind_it():
    page = render_page([result("a"), result("b", holds=False), result("c", status="running")])
    cards, claims = page.index('class="cards"'), page.index("All 4 claims")
    assert cards < claims < page.index("<article")
    assert page[cards:claims].count('class="card"') == 3
    for told in ("✓ 2 of 2 claims hold", "✕ 1 of 2 claims hold", "… not finished"):
        assert told in page[cards:claims]
    assert page.count('<use href="#a-abc-svg"/>') == 1  # the picture is there once, and shown twice
    assert "cards" not in checked(render_page([result("a")])).ids
    assert 'class="card"' not in render_page([result("a")])


def test_numbers_in_words_are_those_that_people_write():
    one = result("a")
    one.record["caption"] = "It takes 1e+04 steps at 1e-06."
    assert "It takes 10,000 steps at 10⁻⁶." in render_page([one])


def test_the_data_of_a_figure_can_be_taken_from_the_page():
    one = dataclasses.replace(result("a"), data="panel,curve,x,y\nloss,a,1,2\n")
    assert 'href="data:text/csv;charset=utf-8,panel%2Ccurve%2Cx%2Cy%0Aloss%2Ca%2C1%2C2%0A"' in render_page([one])
    assert "data:text/csv" not in render_page([result("a")])


def test_many_data_of_a_figure_are_gzipped():
    data = "panel,curve,x,y\n" + "".join(f"loss,a,{k},{k / 7:.9g}\n" for k in range(5000))
    page = render_page([dataclasses.replace(result("a"), data=data)])
    (packed,) = re.findall(
        r'download="figure.csv.gz" href="data:application/gzip;base64,([^"]+)">Data \(CSV, gzip\)', page
    )
    assert gzip.decompress(base64.b64decode(packed)).decode() == data
    assert len(packed) < len(data) / 2


def test_in_a_notebook_the_style_is_the_pages_own_and_nobody_elses():
    body = page_body(render_page([result("a")]))
    style = body[body.index("<style>") : body.index("</style>")]
    assert style.startswith("<style>.jaxopt-lab.jaxopt-lab.jaxopt-lab {")
    assert style.count("{") == style.count("}")
    assert not re.search(r"(?m)^\s*(:root|html|body) \{", style)
    assert "--page: #fff" in style  # legible in a dark notebook
    assert "dark" not in style
    checked(body)


def test_every_text_colour_of_the_style_can_be_read():
    css = (pathlib.Path(page_module.__file__).parent / "templates" / "report.css").read_text()
    named = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", css))
    assert {"ink", "soft", "link", "good", "bad"} <= named.keys()
    lightest = contrast_on_white(named["wash"])
    for name in re.findall(r"(?<![-\w])color: var\(--(\w+)\)", css):
        assert contrast_on_white(named[name]) / lightest >= LEAST_CONTRAST, name
    assert re.findall(r"(?<![-\w])color: #", css) == []


def test_a_dark_screen_has_every_colour_of_its_own():
    templates = pathlib.Path(page_module.__file__).parent / "templates"
    light, dark = (
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6}|#[0-9a-f]{3,4})\b", (templates / name).read_text().split("}")[0]))
        for name in ("report.css", "dark.css")
    )
    assert dark.keys() >= light.keys() - {"shade"}
    for name in ("ink", "soft", "link", "good", "bad"):
        for ground in ("page", "wash"):
            apart = contrast_on_white(dark[ground]) / contrast_on_white(dark[name])
            assert apart >= LEAST_CONTRAST, (name, ground)
    page = render_page([result()])
    assert 'media="screen and (prefers-color-scheme: dark)"' in page


def test_numbers_are_shown_for_reading():
    text = "".join(checked(render_page([result(holds=False)])).text)
    for shown in ("6,500,000", "0.980198", "∞", "[steps]", "10; 1,000,000; ∞"):
        assert shown in text


def test_holding_and_failing_differ_without_colour():
    text = "".join(checked(render_page([result(holds=False)])).text)
    assert "✓ holds" in text
    assert "✕ fails" in text


def test_names_in_backticks_are_set_as_code():
    assert "learning rate of <code>sgd</code> is large" in render_page([result()])


def test_texts_are_escaped():
    page = render_page([result()])
    assert "Only &lt;if&gt; the learning rate" in page
    assert 'aria-label="A &#34;zigzag&#34;."' in page


def test_a_study_that_is_not_finished_is_shown_as_such():
    assert "This study was stopped before its end" in render_page([result(status="running")])


def test_an_inlined_figure_keeps_its_ids_to_itself():
    svg = str(inline_svg(SVG, prefix="zigzag", label="caption"))
    assert svg.startswith('<svg viewBox="0 0 4 3" id="zigzag-svg" role="img" aria-label="caption">')
    assert 'clip-path="url(#zigzag-p1)"' in svg
    assert 'id="zigzag-p1"' in svg
    assert 'href="#zigzag-m1"' in svg
    assert "stroke-linejoin" not in svg
    assert "http" not in svg


def test_a_page_that_is_not_ours_is_not_overwritten(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("<html>my thesis</html>")
    with pytest.raises(InputError, match="is not one of our reports"):
        write_page(path, [result()])
    assert path.read_text() == "<html>my thesis</html>"


def test_our_own_page_is_overwritten(tmp_path):
    path = tmp_path / "report.html"
    write_page(path, [result("a")])
    write_page(path, [result("b")])
    check_page(path)
    assert "b claim" in path.read_text(encoding="utf-8")


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no results"):
        find_results(tmp_path)
    with pytest.raises(InputError, match="holds no results"):
        find_results(tmp_path / "nowhere")


def test_a_study_that_cannot_be_read_is_told_beside_the_others(tmp_path):
    for name in ("broken-1", "zigzag-1"):
        (tmp_path / name).mkdir()
    (tmp_path / "broken-1" / "study.json").write_text("{")
    write_json(tmp_path / "zigzag-1" / "study.json", result(status="running").record)
    (found,), (failure,) = find_results(tmp_path)
    assert found.folder == "zigzag-1"
    assert failure.study == "broken-1"
    assert "study.json" in failure.message
    with pytest.raises(InputError, match=r"study\.json"):
        find_results(tmp_path / "broken-1")


def test_an_unfinished_study_is_found(tmp_path):
    (tmp_path / "zigzag-1").mkdir()
    write_json(tmp_path / "zigzag-1" / "study.json", result(status="running").record)
    ((found,), _) = find_results(tmp_path)
    assert found.verdicts == ()
