"""Matrix-free curvature: operators at a point of a problem, and estimators on them that come with their errors."""

from jaxopt_lab.curvature.blocks import block_names, block_spectra
from jaxopt_lab.curvature.conditioning import condition_number
from jaxopt_lab.curvature.critical_points import examine_point, find_critical_points
from jaxopt_lab.curvature.critical_rates import critical_sharpness
from jaxopt_lab.curvature.densities import spectral_density
from jaxopt_lab.curvature.determinants import log_determinant
from jaxopt_lab.curvature.directions import gradient_alignment, negative_curvature
from jaxopt_lab.curvature.fishers import empirical_fisher, fisher, gradient_covariance
from jaxopt_lab.curvature.indices import index
from jaxopt_lab.curvature.lanczos import eigenpairs
from jaxopt_lab.curvature.noise import noise_scale
from jaxopt_lab.curvature.operators import Operator, from_diagonal, from_matrix, operator
from jaxopt_lab.curvature.preconditioning import preconditioned, preconditioner_of
from jaxopt_lab.curvature.products import gauss_newton, hessian
from jaxopt_lab.curvature.sharpness import batch_sharpness, directional_sharpness
from jaxopt_lab.curvature.spectrum import measure_spectrum
from jaxopt_lab.curvature.traces import frobenius, trace
from jaxopt_lab.curvature.tracking import Sharpness, track

__all__ = [
    "Operator",
    "Sharpness",
    "batch_sharpness",
    "block_names",
    "block_spectra",
    "condition_number",
    "critical_sharpness",
    "directional_sharpness",
    "eigenpairs",
    "empirical_fisher",
    "examine_point",
    "find_critical_points",
    "fisher",
    "frobenius",
    "from_diagonal",
    "from_matrix",
    "gauss_newton",
    "gradient_alignment",
    "gradient_covariance",
    "hessian",
    "index",
    "log_determinant",
    "measure_spectrum",
    "negative_curvature",
    "noise_scale",
    "operator",
    "preconditioned",
    "preconditioner_of",
    "spectral_density",
    "trace",
    "track",
]
