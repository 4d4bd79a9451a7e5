import sys
import types

import pytest

from jaxopt_lab import reporting
from jaxopt_lab.core import InputError


def test_long_text_is_cut_at_forty_lines_and_says_so():
    assert reporting.shortened(list("ab")) == ["a", "b"]
    assert reporting.shortened([str(each) for each in range(40)])[-1] == "39"
    cut = reporting.shortened([str(each) for each in range(50)])
    assert (len(cut), cut[-1]) == (40, "... and 11 more lines")


def test_figures_are_numbered_and_what_has_nothing_to_show_is_left_out():
    def draw(maker):
        figure, axes = maker.axes()
        axes.plot([0, 1], [0, 1])
        return figure, "a line & more"

    first, second = reporting.inline_figures([draw, lambda maker: None, draw])
    assert first["caption"] == second["caption"] == "a line & more"
    assert "figure-0" in first["image"]
    assert "figure-1" in second["image"]


def test_a_data_frame_needs_pandas_and_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        InputError, match=r"here: pandas is not installed\. Install it: pip install 'jaxopt_lab\[pandas\]'"
    ):
        reporting.to_dataframe("here", [])
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=lambda rows: ("frame", rows)))
    assert reporting.to_dataframe("here", ({"a": 1},)) == ("frame", [{"a": 1}])
