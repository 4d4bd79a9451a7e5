"""What batch normalization does to gradients: at first they explode with depth, and steps turn at a known angle.

A loss that normalizes does not depend on the length of the weights w before it: w . g = 0, and the gradient at alpha w
is that at w over alpha. Weight decay shortens w, the steps lengthen it, and it settles where both are equal.
"""

from typing import Annotated, Any

import numpy as np
from scipy import special
from typing_extensions import TypeAliasType

from jaxopt_lab.theory.arguments import Floats, OpenFraction, Range, checked

__all__ = ["equilibrium_angle", "gradient_growth", "kept_correlation"]

AtLeastTwo = TypeAliasType("AtLeastTwo", Annotated[Any, Range("[2, inf)", "One example has no variance.")])


def gradient_growth() -> float:
    """Factor on the squared gradient per layer of a wide random network of ReLU and batch normalization: pi / (pi - 1).

    The variance of relu(z) is 1/2 - 1 / (2 pi) for a standard Gaussian z; normalization divides by it, and half of the
    gradient passes the ReLU. The batch is large, and what goes through the batch's statistics vanishes with it.

    Example:
      >>> print(f"{gradient_growth():.4f}")
      1.4669

    Reference: Yang, Pennington, Rao, Sohl-Dickstein, Schoenholz 2019, arXiv 1902.08129.
    """
    return float(np.pi / (np.pi - 1))


@checked
def equilibrium_angle(decay: OpenFraction) -> Floats:
    """Angle of a step once the length of scale-invariant weights has settled, in radians, about sqrt(2 decay).

    `decay` is learning rate times weight decay. A step w (1 - decay) - lr g, g orthogonal to w, keeps the length where
    (lr |g| / |w|)^2 = 2 decay - decay^2; its angle has the cosine 1 - decay.

    Example:
      >>> print(f"{equilibrium_angle(0.001):.5f} {(2 * 0.001) ** 0.5:.5f}")
      0.04473 0.04472

    Reference: Wan et al. 2021, arXiv 2006.08419; exact for one step here.
    """
    return np.arccos(1 - decay)


@checked
def kept_correlation(batch_size: AtLeastTwo) -> Floats:
    """Correlation of a Gaussian value with itself normalized by the b examples of its batch, which it is one of.

    It is the mean of the batch's deviation, sqrt(2 / b) Gamma(b / 2) / Gamma((b - 1) / 2), about 1 - 3 / (4 b). The
    rest is noise: two examples become +1 and -1, whatever they were.

    Example:
      >>> kept_correlation([2, 8, 64]).round(4).tolist()
      [0.5642, 0.9027, 0.9882]

    Reference: the mean of a chi distribution with b - 1 degrees of freedom.
    """
    return np.sqrt(2 / batch_size) * np.exp(special.gammaln(batch_size / 2) - special.gammaln((batch_size - 1) / 2))
