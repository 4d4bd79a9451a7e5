"""Preprocessing of inputs: an affine map x -> (x - shift) matrix that is fitted on training data only.

    raw            x                             centre      x - mean
    scale          x / std                       standardize (x - mean) / std
    whiten         (x - mean) / std V diag(variance)^-1/2 V',   correlation matrix = V diag(variance) V'

A constant feature carries no information and makes every condition number with a bias unit infinite: it is left out,
in all five, and the fit says which; unless places matter, as they do in images, where it is kept.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxopt_lab.core import fail
from jaxopt_lab.core.errors import require_choice, require_finite

SCALINGS = ("raw", "centre", "scale", "standardize", "whiten")


@dataclasses.dataclass(frozen=True)
class Scaling:
    """A fitted map of inputs; call it on features [n, d].

    Attributes:
      kind: one of `SCALINGS`.
      kept: positions of the d' features that vary in the training data, int [d'].
      shift: subtracted first, [d'].
      factor: divides each feature, [d'], or for "whiten" the matrix [d', d'] that multiplies from the right.
      dropped: names of the features that are constant in the training data.
    """

    kind: str
    kept: np.ndarray
    shift: np.ndarray
    factor: np.ndarray
    dropped: tuple[str, ...] = ()

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """The features [n, d] after the map, float64 [n, d']."""
        features = np.asarray(features, np.float64)
        width = len(self.kept) + len(self.dropped)
        if features.ndim != 2 or features.shape[1] != width:
            raise fail("Scaling", f"features must be [n, {width}] as those of the fit, got {features.shape}")
        centred = features[:, self.kept] - self.shift
        return centred @ self.factor if self.kind == "whiten" else centred / self.factor

    @property
    def note(self) -> str:
        """What was left out, as a sentence; empty when nothing was."""
        if not self.dropped:
            return ""
        plural = "s are" if len(self.dropped) > 1 else " is"
        return f"{len(self.dropped)} feature{plural} constant and left out: {', '.join(self.dropped)}."


def fit_scaling(
    kind: str, training: np.ndarray, names: Sequence[str] | None = None, *, constant: str = "drop"
) -> Scaling:
    """Fits a preprocessing on training data.

    Args:
      kind: "raw", "centre", "scale", "standardize" or "whiten".
      training: features, [n, d].
      names: d names for the note; by default "0", "1", ...
      constant: "drop" leaves out features that are constant in the training data; "keep" keeps their places, so that an
        image stays one.

    Returns:
      The fitted map. With n in the denominator, so that a standardized training set has variance 1 and a whitened one
      the covariance I, exactly. Cost: O(n d), for "whiten" O(n d min(n, d)).

    Raises:
      InputError: an unknown kind, features that are not a finite matrix, no feature that varies, or, for "whiten",
        features of which one is a combination of the others.

    Example:
      >>> scaling = fit_scaling("standardize", np.array([[1.0, 5.0, 7.0], [3.0, 9.0, 7.0]]))
      >>> scaling(np.array([[2.0, 11.0, 7.0]])).tolist(), scaling.note
      ([[0.0, 2.0]], '1 feature is constant and left out: 2.')

    Reference: LeCun, Bottou, Orr, Mueller, Efficient BackProp, 1998, section 4.3; of all whitenings the one that
    stays nearest to the standardized data: Kessy, Lewin, Strimmer, Optimal whitening and decorrelation, 2018.
    """
    require_choice("fit_scaling", "kind", kind, SCALINGS)
    require_choice("fit_scaling", "constant", constant, ("drop", "keep"))
    training = np.asarray(training, np.float64)
    if training.ndim != 2 or 0 in training.shape:
        raise fail("fit_scaling", f"training must be [n, d] and not empty, got {training.shape}")
    require_finite("fit_scaling", "training", training)
    labels = [str(k) for k in range(training.shape[1])] if names is None else list(names)
    if len(labels) != training.shape[1]:
        raise fail("fit_scaling", f"names must name {training.shape[1]} features, got {len(labels)}")
    varies = training.min(0) < training.max(0)
    if not varies.any():
        raise fail("fit_scaling", "every feature is constant", "There is nothing to learn from.")
    kept = np.flatnonzero(varies)
    inputs = training[:, kept]
    shift = np.zeros(len(kept)) if kind in ("raw", "scale") else inputs.mean(0)
    factor = inputs.std(0) if kind in ("scale", "standardize") else np.ones(len(kept))
    if kind == "whiten":
        factor = _whitening(inputs - shift)
    if constant == "keep":
        return _in_place(kind, training, kept, shift, factor)
    return Scaling(kind, kept, shift, factor, tuple(labels[k] for k in np.flatnonzero(~varies)))


def _in_place(kind: str, training: np.ndarray, kept: np.ndarray, shift: np.ndarray, factor: np.ndarray) -> Scaling:
    """The map on all d features: constant ones are shifted like the others, and neither divided nor mixed."""
    dim = training.shape[1]
    shifts = np.zeros(dim) if kind in ("raw", "scale") else training.mean(0)
    shifts[kept] = shift
    if kind == "whiten":
        factors = np.zeros((dim, dim))
        factors[np.ix_(kept, kept)] = factor
    else:
        factors = np.ones(dim)
        factors[kept] = factor
    return Scaling(kind, np.arange(dim), shifts, factors)


def _whitening(centred: np.ndarray) -> np.ndarray:
    """diag(1 / std) V diag(variance)^-1/2 V'; the standardized data's singular values lose no digits to the units."""
    spread = centred.std(0)
    _, singular, right = np.linalg.svd(centred / spread, full_matrices=False)
    num_independent = int((singular > np.finfo(np.float64).eps * max(centred.shape) * singular[0]).sum())
    if num_independent < centred.shape[1]:
        raise fail(
            "fit_scaling", f"whiten needs {centred.shape[1]} independent features, got {num_independent}",
            "Take 'standardize', or leave the dependent features out.",
        )  # fmt: skip
    return (right.T * (np.sqrt(len(centred)) / singular)) @ right / spread[:, None]
