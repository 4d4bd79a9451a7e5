"""train-eval-mismatch: the model that is trained is not the one that is evaluated.

Thresholds: evaluation mode has one and a half times the loss of training mode on the same examples, by a tenth of what
training is about, or a fiftieth where running statistics have not caught up by the run's end; or training mode
twice that of evaluation mode while the key alone makes more than half of the gradient's variance; or batch statistics
are taken over at most four examples. Half of the units dropped, the usual most, leaves both below. Where a random loss
is not learned, the run without its key tells. Noise whose size the parameters give, as a variational autoencoder's, is
not blamed, nor that which the loss asks for, as of a diffusion model, nor that which moves the data alone, as
augmentation does.

Reference: Srivastava et al. 2014 (dropout); Ioffe and Szegedy 2015 (batch normalization).
"""

import numpy as np

from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, make_finding, measured
from jaxopt_lab.diagnosis.prescriptions import MOVED, advise, move_statistics, without_randomness

WORSE, RATIO, SHARE, SMALL = 1.5, 2.0, 0.5, 4
LAGS, NOISY = 2.0, 4.0  # times less and more than the usual share of the way in a step
_VISIBLE, _LAGGING, _CAUGHT_UP = 0.1, 0.02, 3.0  # a twentieth of the start is left in a running mean, exp(-3)


def examine(evidence: Evidence) -> Finding | None:
    """A finding where the two modes differ by more than they should."""
    modes = None if evidence.program is None else evidence.program.modes
    if modes is None:
        return None
    lags = 0 < modes.moved < MOVED and modes.moved * evidence.num_steps < _CAUGHT_UP
    least = max((_LAGGING if lags else _VISIBLE) * evidence.scale, 1e-30)
    worse = modes.evaluation - modes.training > least and modes.evaluation > WORSE * modes.training
    noisier = (
        modes.training - modes.evaluation > least
        and modes.training > RATIO * modes.evaluation
        and modes.key_share > SHARE
        and not modes.is_meant
    )
    problem = evidence.setting.problem
    size = evidence.setting.batch_size or np.inf
    is_small = problem.stateful is not None and bool(problem.model_state) and size <= SMALL
    is_random = evidence.point.is_random and not modes.is_meant
    drowned = is_random and evidence.is_underperforming and problem.data is not None
    if not (worse or noisier or drowned or (is_small and evidence.is_underperforming)):
        return None
    numbers = [
        measured("loss in training mode", modes.training),
        measured("loss in evaluation mode, same examples", modes.evaluation),
        measured("evaluation over training mode", modes.evaluation / max(modes.training, 1e-300), WORSE),
        measured("share of the gradient's variance that the key alone makes", modes.key_share, SHARE),
    ]
    if is_small:
        many = "one example" if size == 1 else f"{size} examples"
        text = f"Batches hold {many}: their statistics are noise, and evaluation uses others."
        cure = advise("Take larger batches, or a normalization over features (LayerNorm, GroupNorm).")
    elif worse:
        text = "In evaluation mode the model is another one than was trained: its running statistics lag, or differ."
        cure = advise("Let the running statistics move faster (momentum .9), and train until they have caught up.")
        if 0 < modes.moved < MOVED / LAGS or modes.moved > MOVED * NOISY:
            cure = move_statistics(float(f"{modes.moved:.1e}"))  # as people write it: rounding would be multiplied
        if problem.stateful is None or not problem.model_state:
            text = "In evaluation mode the model is another one than was trained: a part of it acts in training alone."
            cure = without_randomness(
                "What the inputs need, such as their scaling, belongs in both modes; augmentation in training."
            )
    else:
        text = "The random part of training mode, such as dropout, makes most of each step's gradient."
        cure = without_randomness("Lower the dropout (or other noise) of training mode; without any is what was tried.")
    gain = max(modes.training, modes.evaluation) / max(min(modes.training, modes.evaluation), 1e-2 * evidence.scale)
    return make_finding(
        "train-eval-mismatch", text, numbers, cure, gain, gain_in="loss", horizon=evidence.num_steps,
        is_tentative=drowned and not (worse or noisier or is_small),
    )  # fmt: skip
