import re

import matplotlib
import numpy as np
import pytest

from jaxopt_lab.reporting import house_style, save_png, save_svg


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
