import re

import matplotlib
import numpy as np
import pytest

from jaxopt_lab.reporting.figure_data import figure_data
from jaxopt_lab.reporting.figures import (
    LEAST_CONTRAST,
    WIDTH,
    _plain_tick,
    _power_of_ten,
    contrast_on_white,
    house_style,
    save_png,
    save_svg,
    svg_text,
)
from jaxopt_lab.reporting.svg import inline_svg


def drawn(path, save=save_svg, ends=(1.0, 2.0)):
    with house_style() as maker:
        figure, axes = maker.axes()
        steps = np.arange(1, 50)
        for index, end in enumerate(ends):
            maker.predicted(axes, steps, end / steps, color=index, label=f"curve {index}")
            maker.measured(axes, steps[::5], end / steps[::5], color=index)
        maker.measured(axes, [1.0, np.nan], [1.0, np.nan], color=2, label="one dot")
        maker.measured(axes, [np.nan], [np.nan], label="nothing")
        axes.set(xscale="log", yscale="log", xlabel="step", ylabel="loss")
        save(figure, path)
    return path.read_bytes()


def heights(svg):
    """The height of each curve's label, in points from the top."""
    found = re.findall(r'transform="[^"]*translate\(([\d.]+) ([\d.]+)\)[^"]*">curve', svg)
    found = found or re.findall(r'x="([\d.]+)" y="([\d.]+)"[^>]*>curve', svg)
    return [float(y) for _, y in found]


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    assert drawn(tmp_path / "a.svg") == drawn(tmp_path / "b.svg")


def test_text_stays_text_and_powers_of_ten_are_plain(tmp_path):
    svg = drawn(tmp_path / "a.svg").decode()
    assert ">curve 0</text>" in svg
    assert ">10¹</text>" in svg
    assert "nothing" not in svg
    assert "dc:date" not in svg


def test_labels_that_would_overlap_move_apart(tmp_path):
    upper, lower = sorted(heights(drawn(tmp_path / "a.svg", ends=(1.0, 1.001)).decode()))
    assert lower - upper > 11


def test_between_powers_of_ten_only_the_chosen_ticks_have_labels():
    assert _plain_tick({0.2, 0.5}, 0.2) == "0.2"
    assert _plain_tick({0.2, 0.5}, 0.20000000001) == "0.2"  # as matplotlib computes it
    assert _plain_tick({0.2, 0.5}, 0.3) == ""
    assert _power_of_ten(0.0) == ""


def test_settings_outside_are_left_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 33.0, "svg.fonttype": "path"}):
        svg = drawn(tmp_path / "a.svg").decode()
        assert matplotlib.rcParams["font.size"] == 33.0
    assert ">curve 0</text>" in svg
    assert dict(matplotlib.rcParams) == before


def test_a_users_style_does_not_change_the_figure(tmp_path):
    plain = drawn(tmp_path / "a.svg")
    with matplotlib.rc_context({"axes.facecolor": "black", "lines.linewidth": 9.0}):
        assert drawn(tmp_path / "b.svg") == plain


def test_a_picture_for_looking_at_is_a_png(tmp_path):
    assert drawn(tmp_path / "a.png", save_png).startswith(b"\x89PNG")


@pytest.mark.parametrize("index", range(12))
def test_every_curve_has_a_colour(index):
    with house_style() as maker:
        assert re.fullmatch(r"#[0-9a-f]{6}", maker.color(index))


def texts(svg):
    """(colour, size, text) of each text of an SVG file."""
    found = []
    for style, text in re.findall(r'<text style="([^"]*)"[^>]*>([^<]*)</text>', svg):
        color = re.search(r"fill: (#[0-9a-f]{6})", style)
        size = re.search(r"font-size: ([\d.]+)px|font: ([\d.]+)px", style)
        found.append((color[1] if color else "#000000", float(size[1] or size[2]), text))
    return found


def test_every_text_of_a_figure_can_be_read(tmp_path):
    with house_style() as maker:
        figure, axes = maker.axes()
        for index in range(7):
            maker.predicted(axes, [1, 2], [1, index + 1], color=index, label=f"rule {index}")
        axes.text(1.2, 3, "pale", color="#dddddd")
        axes.text(1.2, 4, "on dark", color="white")
        axes.set_title("A title that is much too long to stand above so small a figure in one line")
        save_svg(figure, tmp_path / "a.svg")
    found = texts((tmp_path / "a.svg").read_text(encoding="utf-8"))
    assert {"rule 0", "rule 6", "pale", "on dark"} <= {text for *_, text in found}
    for color, size, text in found:
        assert contrast_on_white(color) >= LEAST_CONTRAST or text == "on dark", text
        # A phone of 400 pixels leaves 368 for a figure.
        assert size * 368 / (72 * WIDTH) >= 11, text
    assert not any(text.endswith("in one line") and text.startswith("A title") for *_, text in found)


def test_numbers_of_labels_and_short_logarithmic_axes_are_written_out(tmp_path):
    with house_style() as maker:
        figure, axes = maker.axes()
        maker.predicted(axes, [1, 2], [0.3, 0.8], label="kappa 1e+04")
        axes.set_yscale("log")
        save_svg(figure, tmp_path / "a.svg")
    found = [text for *_, text in texts((tmp_path / "a.svg").read_text(encoding="utf-8"))]
    assert "kappa 10,000" in found
    assert "0.6" in found
    assert not any("mathdefault" in text or "×" in text for text in found)


def test_the_data_of_a_figure_are_its_curves_and_dots():
    with house_style() as maker:
        figure, axes = maker.axes(2)
        maker.measured(axes[0], [1, 2], [3.0, np.nan])
        axes[0].set_ylabel("loss")
        axes[1].scatter([1], [2], label="ends")
        axes[1].axhline(7)
        axes[1].set_title("Ends, all")
    assert figure_data(figure).splitlines() == [
        "panel,curve,x,y", "loss,curve 1,1,3", "loss,curve 1,2,nan", '"Ends, all",ends,1,2',
    ]  # fmt: skip
    with house_style() as maker:
        assert figure_data(maker.axes()[0]) == ""


def test_dots_and_lines_of_a_picture_tell_their_values():
    with house_style() as maker:
        figure, axes = maker.axes()
        maker.predicted(axes, [1, 2, 4], [1.0, 0.5, 0.25])
        axes.scatter([1, 2], [0.25, 1.0], label="<runs>")
        maker.measured(axes, [1, np.nan, 4], [1.0, 0.5, 1e-3])
        axes.plot([1, 2, 4], [-1.0, 0.5, 0.25], marker="s")
        axes.set(yscale="log", ylim=(1e-2, 2))
        svg = svg_text(figure)
        places = axes.transData.transform([[1, 1.0], [1, 0.25]]) * 72 / figure.dpi
    found = re.findall(r"<title>([^<]*)</title>", svg)
    assert sorted(found) == [
        "&lt;runs&gt;", "&lt;runs&gt;: 1, 0.25", "&lt;runs&gt;: 2, 1", "curve 1: 1, 1 to 4, 0.25", "curve 2",
        "curve 2: 1, 1", "curve 2: 4, 0.001", "curve 3",
        "curve 3: 2, 0.5", "curve 3: 4, 0.25",
    ]  # fmt: skip
    # Each text hangs at the place of its values, in points from the left.
    for text, (x, _) in zip(("curve 2: 1, 1", "&lt;runs&gt;: 1, 0.25"), places, strict=True):
        (drawn,) = re.findall(rf'<use [^>]*x="([\d.]+)"[^>]*><title>{re.escape(text)}</title>', svg)
        assert float(drawn) == pytest.approx(x, abs=1e-5)  # six decimals
    shown = inline_svg(svg, prefix="f", label="")
    assert "<title>curve 2: 1, 1</title>" in shown


def test_a_picture_may_have_words_on_an_axis():
    with house_style() as maker:
        figure, axes = maker.axes()
        maker.measured(axes, [0.5, 2.0], ["sgd", "adam"])
        svg = svg_text(figure)
    assert ">adam</text>" in svg
    assert "<title>curve 1: 2, 1</title>" in svg  # its place on the axis
    assert figure_data(figure).splitlines()[-1] == "1,curve 1,2,1"
