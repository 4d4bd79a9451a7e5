"""The vocabulary: problems, estimates, verdicts, statuses, pytrees as vectors, and every error's wording."""

from jaxopt_lab.core import vectors
from jaxopt_lab.core.errors import InputError, fail, require_between, require_choice, require_count, require_memory
from jaxopt_lab.core.estimate import Estimate, mean_of_samples
from jaxopt_lab.core.exits import guarded
from jaxopt_lab.core.losses import from_loss
from jaxopt_lab.core.memory import available_memory
from jaxopt_lab.core.precision import precision
from jaxopt_lab.core.problem import Batch, Composite, Key, Problem, Separable, Stateful, Truth
from jaxopt_lab.core.status import Status
from jaxopt_lab.core.verdict import Verdict

__all__ = [
    "Batch",
    "Composite",
    "Estimate",
    "InputError",
    "Key",
    "Problem",
    "Separable",
    "Stateful",
    "Status",
    "Truth",
    "Verdict",
    "available_memory",
    "fail",
    "from_loss",
    "guarded",
    "mean_of_samples",
    "precision",
    "require_between",
    "require_choice",
    "require_count",
    "require_memory",
    "vectors",
]
