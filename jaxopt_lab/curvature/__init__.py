"""Matrix-free curvature: operators at a point of a problem, and estimators on them that come with their errors."""

from jaxopt_lab.core.vectors import parameter_paths
from jaxopt_lab.curvature.blocks import BlockSpectra, BlockSpectrum, block_names, block_spectra, heterogeneity
from jaxopt_lab.curvature.conditioning import ConditionNumber, condition_number
from jaxopt_lab.curvature.critical_points import CriticalPoint, examine_point, find_critical_points
from jaxopt_lab.curvature.densities import Density, density_of, spectral_density
from jaxopt_lab.curvature.determinants import log_determinant
from jaxopt_lab.curvature.directions import Alignment, NegativeCurvature, gradient_alignment, negative_curvature
from jaxopt_lab.curvature.fishers import empirical_fisher, fisher, gradient_covariance
from jaxopt_lab.curvature.indices import Index, index, index_of
from jaxopt_lab.curvature.journals import Progress
from jaxopt_lab.curvature.lanczos import Eigenpairs, Ends, eigenpairs
from jaxopt_lab.curvature.noise import NoiseScale, noise_scale
from jaxopt_lab.curvature.operators import Operator, from_diagonal, from_matrix, operator, random_vector
from jaxopt_lab.curvature.points import locate
from jaxopt_lab.curvature.preconditioning import preconditioned, preconditioner_of
from jaxopt_lab.curvature.products import gauss_newton, gauss_newton_map, hessian
from jaxopt_lab.curvature.quadratures import Quadrature, gauss_quadrature_of, gauss_quadratures
from jaxopt_lab.curvature.spectrum import Spectrum, measure_spectrum
from jaxopt_lab.curvature.spectrum_figure import draw_spectrum
from jaxopt_lab.curvature.traces import frobenius, trace
from jaxopt_lab.curvature.tracking import Sharpness, track

__all__ = [
    "Alignment",
    "BlockSpectra",
    "BlockSpectrum",
    "ConditionNumber",
    "CriticalPoint",
    "Density",
    "Eigenpairs",
    "Ends",
    "Index",
    "NegativeCurvature",
    "NoiseScale",
    "Operator",
    "Progress",
    "Quadrature",
    "Sharpness",
    "Spectrum",
    "block_names",
    "block_spectra",
    "condition_number",
    "density_of",
    "draw_spectrum",
    "eigenpairs",
    "empirical_fisher",
    "examine_point",
    "find_critical_points",
    "fisher",
    "frobenius",
    "from_diagonal",
    "from_matrix",
    "gauss_newton",
    "gauss_newton_map",
    "gauss_quadrature_of",
    "gauss_quadratures",
    "gradient_alignment",
    "gradient_covariance",
    "hessian",
    "heterogeneity",
    "index",
    "index_of",
    "locate",
    "log_determinant",
    "measure_spectrum",
    "negative_curvature",
    "noise_scale",
    "operator",
    "parameter_paths",
    "preconditioned",
    "preconditioner_of",
    "random_vector",
    "spectral_density",
    "trace",
    "track",
]
