"""The vocabulary: problems, estimates, verdicts, statuses, pytrees as vectors, and every error's wording."""

from jaxopt_lab.core import meshes, vectors
from jaxopt_lab.core.batches import Batches, as_data, first_batch, materialized, sampled
from jaxopt_lab.core.compilation import compiled, make_room
from jaxopt_lab.core.errors import (
    LARGEST_COUNT,
    InputError,
    fail,
    is_concrete_number,
    reason,
    require_between,
    require_choice,
    require_count,
    require_finite,
    require_memory,
    require_positive,
    require_real,
    require_size,
)
from jaxopt_lab.core.estimate import Estimate, mean_of_batches, mean_of_samples
from jaxopt_lab.core.exits import guarded
from jaxopt_lab.core.leaves import count_examples, describe, is_key, is_raw_key, require_trainable
from jaxopt_lab.core.losses import from_loss, require_scalar, require_scalar_loss, traced
from jaxopt_lab.core.memory import available_memory
from jaxopt_lab.core.precision import precision
from jaxopt_lab.core.problem import (
    Batch,
    Composite,
    Key,
    Loss,
    Params,
    Problem,
    Separable,
    Stateful,
    Truth,
    as_partial,
)
from jaxopt_lab.core.status import Status
from jaxopt_lab.core.verdict import Verdict, judge

__all__ = [
    "Batch",
    "Batches",
    "Composite",
    "Estimate",
    "InputError",
    "LARGEST_COUNT",
    "Key",
    "Loss",
    "Params",
    "Problem",
    "Separable",
    "Stateful",
    "Status",
    "Truth",
    "Verdict",
    "as_data",
    "as_partial",
    "available_memory",
    "compiled",
    "make_room",
    "materialized",
    "sampled",
    "count_examples",
    "describe",
    "fail",
    "first_batch",
    "from_loss",
    "guarded",
    "is_concrete_number",
    "is_key",
    "is_raw_key",
    "judge",
    "mean_of_batches",
    "mean_of_samples",
    "meshes",
    "precision",
    "reason",
    "require_between",
    "require_choice",
    "require_count",
    "require_finite",
    "require_memory",
    "require_positive",
    "require_real",
    "require_scalar",
    "require_scalar_loss",
    "require_size",
    "require_trainable",
    "traced",
    "vectors",
]
