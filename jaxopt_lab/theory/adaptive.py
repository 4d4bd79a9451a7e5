"""What the adaptive rules (Adagrad, RMSProp, Adam) do on gradients and losses where it can be said exactly.

Each divides the gradient by the root of a sum or average of its squares. On a constant gradient the sum is t g^2
(Adagrad) or (1 - decay^t) g^2 (an average that starts from zero), so that the step is lr sign(g) times a known factor,
whatever g is. `decay` is the forgetting of the squares, RMSProp's 0.9 or Adam's b2 = 0.999.
"""

import numpy as np

from jaxopt_lab.theory.arguments import AtLeastOne, Count, Floats, Momentum, checked

__all__ = ["adagrad_distance", "uncorrected_step"]


@checked
def uncorrected_step(steps: AtLeastOne, decay: Momentum, b1: Momentum = 0.0) -> Floats:
    """Size of step t on a constant gradient without bias correction, over lr: (1 - b1^t) / sqrt(1 - decay^t).

    With the correction it is 1 from the first step on; without it RMSProp (b1 = 0) starts with 1 / sqrt(1 - decay).

    Example:
      >>> print(f"{uncorrected_step(1, 0.9):.4f} {uncorrected_step(1, 0.999, 0.9):.4f}")
      3.1623 3.1623

    Reference: Kingma and Ba 2015, section 3.
    """
    return (1 - b1**steps) / np.sqrt(1 - decay**steps)


@checked
def adagrad_distance(steps: Count) -> float:
    """How far t steps of Adagrad go on a constant gradient, over lr: the sum of 1 / sqrt(k), about 2 sqrt(t) - 1.46.

    Example:
      >>> print(f"{adagrad_distance(1000):.4f}")
      61.8010

    Reference: Duchi, Hazan, Singer 2011, for the rule.
    """
    return float(np.sum(1 / np.sqrt(np.arange(1, steps + 1))))
