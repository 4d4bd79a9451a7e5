import sys
import types

import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.reporting.outcomes import Reported, inline_figures, shortened, to_dataframe


def test_long_text_is_cut_at_forty_lines_and_says_so():
    assert shortened(list("ab")) == ["a", "b"]
    assert shortened([str(each) for each in range(40)])[-1] == "39"
    cut = shortened([str(each) for each in range(50)])
    assert (len(cut), cut[-1]) == (40, "... and 11 more lines")


def test_figures_are_numbered_and_what_has_nothing_to_show_is_left_out():
    def draw(maker):
        figure, axes = maker.axes()
        axes.plot([0, 1], [0, 1])
        return figure, "a line & more"

    first, second = inline_figures([draw, lambda maker: None, draw])
    assert first["caption"] == second["caption"] == "a line & more"
    assert "figure-0" in first["image"]
    assert "figure-1" in second["image"]


def test_a_data_frame_needs_pandas_and_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        InputError, match=r"here: pandas is not installed\. Install it: pip install 'jaxopt_lab\[pandas\]'"
    ):
        to_dataframe("here", [])
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=lambda rows: ("frame", rows)))
    assert to_dataframe("here", ({"a": 1},)) == ("frame", [{"a": 1}])


class Thing(Reported):
    _report = "tests.reporting.thing"


def test_an_outcome_prints_shows_draws_and_saves_what_its_module_makes_of_it(tmp_path, monkeypatch):
    def draw(maker):
        figure, axes = maker.axes()
        axes.plot([1, 2], [1, 1e6], label="kappa 1e+04")
        axes.set(yscale="log", title="kappa 1e+04")
        return figure, "a line"

    draws = [lambda maker: None, draw]
    page = "<html><style>body {}</style><body><p>me</p></body></html>"
    module = types.SimpleNamespace(lines_of=lambda me: ["a", "b"], page_of=lambda me: page, draws_of=lambda me: draws)
    monkeypatch.setitem(sys.modules, "tests.reporting.thing", module)
    thing = Thing()
    assert str(thing) == "a\nb"
    thing.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == page
    assert "<p>me</p>" in thing._repr_html_()
    (axes,) = thing.plot().axes
    assert axes.get_title(loc="left") == "kappa 10,000"
    draws.pop()
    with pytest.raises(InputError, match=r"Thing\.plot: there is nothing to draw"):
        thing.plot()
