"""Figures of the evidence: the run with its prediction, the curvatures with the rule's edge, the layers, a proof.

Each function returns the figure and its conclusion, or None where the evidence is missing.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.probe_runs import OtherRates
from jaxopt_lab.diagnosis.proving import Proof
from jaxopt_lab.reporting import FigureMaker

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Drawing = tuple["Figure", str] | None


def draw_losses(evidence: Evidence, maker: FigureMaker) -> Drawing:
    """The loss of the short run, of the same run at other rates, and of the local model."""
    run = evidence.run
    if run is None:
        return None
    figure, axes = maker.axes()
    rates = evidence.rates or OtherRates(run.steps, {})
    every = np.concatenate([run.losses, *rates.losses.values()])
    shown = every[np.isfinite(every)]
    is_logarithmic = evidence.lower_bound == 0 and (shown > 0).all()
    top = evidence.point.loss + 0.5 * evidence.scale
    if is_logarithmic:
        top = 3 * max(evidence.point.loss, evidence.point.baseline or 0.0)
    maker.measured(axes, run.steps, run.losses)
    _label(axes, maker, run.steps, run.losses, "in use", 0, top)
    others = [
        axes.plot(rates.steps, losses, color=maker.color(place), linewidth=1.2, label=f"rate x {factor:g}")[0]
        for place, (factor, losses) in enumerate(rates.losses.items(), 1)
    ]
    if evidence.follows_model and evidence.model_at_point is not None and evidence.method is not None:
        falls = [evidence.model_at_point.decrease(float(step), evidence.method) for step in run.steps]
        maker.predicted(axes, run.steps, evidence.point.loss - np.array(falls), color=0)
    if is_logarithmic:
        axes.set(yscale="log", ylim=(0.5 * max(float(shown.min()), 1e-12 * top), top))
    else:
        axes.set(ylim=(float(shown.min()) - 0.05 * evidence.scale, top))
    axes.set(xlabel="step", ylabel="loss over all data")
    if others:
        axes.legend(handles=others, loc="best")  # of those that end early labels would lie on the run
    if evidence.point.baseline is not None:
        axes.axhline(evidence.point.baseline, color=maker.color(6), linewidth=0.8, linestyle=":")
    ending = "It diverged." if run.diverged else _course(evidence.progress)
    line = " The line is the local model's prediction." if evidence.follows_model else ""
    return figure, f"{ending}{line}" + (
        " Dotted: the loss of the best constant output." if evidence.point.baseline is not None else ""
    )


def _course(progress: float) -> str:
    """What the short run did to the loss.

    Example:
      >>> _course(0.25), _course(-0.04)
      ('The short run reduces the loss by 25%.', 'The short run raises the loss by 4%.')
      >>> _course(0.001)
      'The short run leaves the loss as it is, within 1%.'
    """
    if abs(progress) < 0.01:
        return "The short run leaves the loss as it is, within 1%."
    share = f"{100 * abs(progress):.0f}%"
    return (
        f"The short run reduces the loss by {share}." if progress > 0 else f"The short run raises the loss by {share}."
    )


def draw_curvature(evidence: Evidence, maker: FigureMaker) -> Drawing:
    """Where the gradient lies among the curvatures, and the edge of the rule in use."""
    model = evidence.current_model
    if model is None or not len(model.eigenvalues) or model.gradient_square == 0:
        return None
    figure, axes = maker.axes()
    shares = model.weights / model.gradient_square
    for sign, color, name in ((1, 0, "positive"), (-1, 1, "negative")):
        side = (np.sign(model.eigenvalues) == sign) & (shares > 1e-16)
        if side.any():
            places = np.abs(model.eigenvalues[side])
            axes.vlines(places, 1e-16, shares[side], color=maker.color(color), linewidth=1.2)
            maker.measured(axes, places, shares[side], color=color)
            axes.text(0.24 * color, 1.02, name, color=maker.color(color), transform=axes.transAxes, va="bottom")
    axes.set(
        xscale="log", yscale="log", ylim=(max(1e-10, 0.3 * shares[shares > 0].min()), 3),
        xlabel=("preconditioned " if model.preconditioned else "") + "|curvature|",
        ylabel="share of the squared gradient norm",
    )  # fmt: skip
    caption = f"The gradient lies in curvatures from {np.abs(model.eigenvalues).min():.2g} to {model.largest:.2g}."
    share = evidence.relative_sharpness
    if np.isfinite(share) and share > 0:
        axes.axvline(model.largest / share, color=maker.color(6), linewidth=1.0, linestyle="--")
        axes.annotate(
            "edge of the rule", (model.largest / share, 1.0), rotation=90, va="top", ha="right",
            textcoords="offset points", xytext=(-3, 0),
        )  # fmt: skip
        caption += f" The sharpest stands at {share:.2g} of the rule's stability edge."
    return figure, caption


def draw_layers(evidence: Evidence, maker: FigureMaker) -> Drawing:
    """The signal forward and backward, layer by layer."""
    signals = None if evidence.layers is None else evidence.layers.start
    if signals is None or len(signals.layers) < 2:
        return None
    figure, axes = maker.axes()
    places = np.arange(1, len(signals.layers) + 1)
    for values, color, name in (
        ([layer.forward for layer in signals.layers], 0, "outputs"),
        ([layer.backward for layer in signals.layers], 1, "gradients"),
    ):
        axes.plot(places, values, "o-", color=maker.color(color), linewidth=1.0)
        maker.label_end(axes, places, values, name, color=color)
    axes.set(yscale="log", xlabel="layer, first to last", ylabel="root mean square")
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure, (
        f"From the first hidden layer to the last the signal changes {signals.forward_gain:.2g} times, the gradient"
        f" {signals.backward_gain:.2g} times on its way back."
    )


def draw_proof(proof: Proof, maker: FigureMaker) -> Drawing:
    """The paired runs before and after."""
    figure, axes = maker.axes()
    both = np.concatenate([proof.before.ravel(), proof.after.ravel()])
    finite = both[np.isfinite(both)]
    start = abs(float(np.median(proof.before[:, 0])))
    top = min(10 * start, 1.3 * float(np.max(finite, initial=start)))
    for curves, color, name in ((proof.before, 0, "before"), (proof.after, 1, "after")):
        for curve in curves:
            axes.plot(proof.steps, curve, color=maker.color(color), linewidth=0.9)
        _label(axes, maker, proof.steps, curves[0], name, color, top)
    if finite.size and (finite > 0).all():
        axes.set(yscale="log", ylim=(0.5 * float(finite.min()), max(top, 2 * float(finite.min()))))
    elif finite.size:
        axes.set(ylim=(float(finite.min()) - 0.1 * top, top))
    axes.set(xlabel="step", ylabel=proof.unit if proof.unit != "steps" else "loss")
    first, _, rest = str(proof).partition(";")
    return figure, f"{first}." if rest else first


def _label(axes: "Axes", maker: FigureMaker, steps: Any, losses: np.ndarray, text: str, color: int, top: float) -> None:
    """Writes beside the last place of a curve that stands inside of the picture."""
    inside = np.isfinite(losses) & (losses < top)
    if inside.any():
        maker.label_end(axes, np.asarray(steps)[inside], losses[inside], text, color=color)
