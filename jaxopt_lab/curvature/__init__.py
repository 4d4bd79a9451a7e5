"""Matrix-free curvature: operators at a point of a problem, and estimators on them that come with their errors."""

from jaxopt_lab.curvature.lanczos import Eigenpairs, Ends, eigenpairs
from jaxopt_lab.curvature.operators import Operator, from_diagonal, from_matrix, operator, random_vector
from jaxopt_lab.curvature.products import gauss_newton, hessian

__all__ = [
    "Eigenpairs",
    "Ends",
    "Operator",
    "eigenpairs",
    "from_diagonal",
    "from_matrix",
    "gauss_newton",
    "hessian",
    "operator",
    "random_vector",
]
