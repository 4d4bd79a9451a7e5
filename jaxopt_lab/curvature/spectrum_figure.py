"""The figures of a spectrum and its page: density, ends, layers."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from jaxopt_lab.curvature.spectrum import Spectrum
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.reporting.outcomes import Draw, inline_figures
from jaxopt_lab.reporting.page import render_template

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_spectrum(spectrum: Spectrum, maker: FigureMaker) -> "Figure":
    """The density with the outer eigenvalues marked, the eigenvalues in order, and each layer's largest and mean."""
    layers = spectrum.blocks is not None
    figure, axes = maker.axes(3 if layers else 2, height=10.5 if layers else 7.0)
    _draw_density(axes[0], spectrum, maker)
    _draw_ends(axes[1], spectrum, maker)
    if layers:
        _draw_layers(axes[2], spectrum, maker)
    return figure


def page_of(spectrum: Spectrum) -> str:
    """The spectrum as HTML that asks for nothing from elsewhere."""
    return render_template(
        "spectrum.html.j2", spectrum=spectrum, figures=inline_figures(draws_of(spectrum)),
        shown=[line for line in str(spectrum).split("\n\n")[0].splitlines()[1:] if "  " in line],
    )  # fmt: skip


def draws_of(spectrum: Spectrum) -> list[Draw]:
    """The panels, each as a figure with its conclusion."""
    panels: list[tuple[Callable[..., None], str]] = [(_draw_density, _density_words(spectrum))]
    panels.append((_draw_ends, f"The ends of the spectrum: condition number {spectrum.condition}."))
    if spectrum.blocks is not None:
        apart = spectrum.blocks.heterogeneity.value
        panels.append((_draw_layers, f"The layers' curvatures differ by {apart:.2f}, where 0 is alike and 1 apart."))
    return [functools.partial(_alone, spectrum, panel, told) for panel, told in panels]


def _alone(
    spectrum: Spectrum, panel: Callable[..., None], told: str, maker: FigureMaker
) -> "tuple[Figure, str]":  # fmt: skip
    figure, axes = maker.axes()
    panel(axes, spectrum, maker)
    axes.set_title("")
    return figure, told


def _density_words(spectrum: Spectrum) -> str:
    near = spectrum.logarithmic.near_zero
    zeros = f" {near:.0%} of them are zero within what can be told apart." if near > 0.005 else ""
    return f"The density of the {spectrum.size:,} eigenvalues, over powers of ten; the outer ones marked below.{zeros}"


def _draw_density(axes: "Axes", spectrum: Spectrum, maker: FigureMaker) -> None:
    density = spectrum.logarithmic
    assert density.negative is not None
    assert density.negative_errors is not None
    sides = ((density.values, density.errors, 0), (density.negative, density.negative_errors, 1))
    for values, errors, color in sides:
        maker.predicted(axes, density.grid, values, color=color)
        axes.fill_between(
            density.grid, np.maximum(values - errors, 1e-12), values + errors, color=maker.color(color), alpha=0.25
        )
    for side in (spectrum.ends.largest, spectrum.ends.smallest):
        for value in side.values:
            axes.axvline(abs(value), ymax=0.06, color=maker.color(0 if value > 0 else 1), linewidth=1.2)
    floor = 0.1 / spectrum.size
    top = max(float(density.values.max()), float(density.negative.max()))
    axes.set(xscale="log", yscale="log", ylim=(floor, 3 * top), xlabel="|eigenvalue|", ylabel="share per decade")
    axes.text(0.98, 0.95, "positive", color=maker.color(0), transform=axes.transAxes, ha="right", va="top")
    axes.text(0.98, 0.86, "negative", color=maker.color(1), transform=axes.transAxes, ha="right", va="top")
    near = f", {density.near_zero:.0%} of them zero" if density.near_zero > 0.005 else ""
    axes.set_title(f"Density of the {spectrum.size:,} eigenvalues{near}")


def _draw_ends(axes: "Axes", spectrum: Spectrum, maker: FigureMaker) -> None:
    largest, smallest = spectrum.ends.largest, spectrum.ends.smallest
    for side, color, name, height in ((largest, 0, "largest", 0.95), (smallest, 1, "smallest", 0.86)):
        if not len(side.values):
            continue
        places = np.arange(1, len(side.values) + 1)
        axes.errorbar(places, side.values, yerr=side.errors, fmt="o-", color=maker.color(color), linewidth=0.8)
        axes.text(0.98, height, name, color=maker.color(color), transform=axes.transAxes, ha="right", va="top")
    axes.axhline(0, color=maker.color(6), linewidth=0.8)
    axes.set(xlabel="rank from the end", ylabel="eigenvalue")
    axes.set_title(f"Condition number {spectrum.condition}")


def _draw_layers(axes: "Axes", spectrum: Spectrum, maker: FigureMaker) -> None:
    assert spectrum.blocks is not None
    blocks = spectrum.blocks.blocks
    places = np.arange(len(blocks))
    means = [abs(block.trace.value) / block.size for block in blocks]
    axes.plot([block.largest.value for block in blocks], places, "o", color=maker.color(0))
    axes.plot(means, places, "s", color=maker.color(2))
    axes.set(
        xscale="log",
        yticks=places,
        yticklabels=[block.name or "all" for block in blocks],
        ylim=(len(blocks) - 0.5, -0.9),
    )
    maker.label(axes, blocks[0].largest.value, -0.35, "largest eigenvalue", color=0)
    maker.label(axes, means[0], -0.35, "mean eigenvalue", color=2)
    axes.set(xlabel="eigenvalues of the layer's own block")
    axes.set_title(f"Layers differ by {spectrum.blocks.heterogeneity.value:.2f} (0 alike, 1 apart)")
