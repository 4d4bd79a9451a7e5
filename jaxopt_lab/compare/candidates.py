"""Rules as they enter a comparison: one factory and one space for all problems, and which other rules they contain.

The spaces of `CANDIDATES` give every learning rate five decades: from 1e-3 for rules whose step is as long as the
gradient (for momentum lr / (1 - rho)), from 1e-5 for those that normalize it coordinate by coordinate. Momentum is
searched as 1 - rho on a logarithmic scale, from no momentum to .99; the other constants stay at their authors' values,
but for the one or two that are commonly tuned.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optax

from jaxopt_lab import rules
from jaxopt_lab.core import fail
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.rules.contributed import sophia
from jaxopt_lab.search.dimensions import effective_rate, log_uniform, one_minus_log_uniform, uniform
from jaxopt_lab.search.spaces import Space
from jaxopt_lab.training.evaluation_params import Evaluated, Factory

_CHOI = "Choi et al., On empirical comparisons of optimizers for deep learning, 2019, appendix D"
_SHALLUE = "Shallue et al., Measuring the effects of data parallelism, 2019, section 4.7"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A rule in a comparison.

    Attributes:
      factory: hyperparameters -> rule.
      space: what is searched, on every problem the same.
      contains: name of another rule -> where in this rule's space it lies, such as "rho = 0".
      natural: ends of ranges beyond which nothing lies: (hyperparameter, "low" or "high").
      evaluated: (state, params) -> the parameters that are judged, for rules that average; None: the parameters.
      source: where the space is from.
    """

    factory: Factory
    space: Space
    contains: Mapping[str, str] = dataclasses.field(default_factory=dict)
    natural: tuple[tuple[str, str], ...] = ()
    evaluated: Evaluated | None = None
    source: str = ""

    def edges(self, values: Mapping[str, float]) -> dict[str, str]:
        """The hyperparameters near an end of their range that could be moved, name -> "low" or "high"."""
        found = self.space.near_edge(values)
        return {name: end for name, end in found.items() if (name, end) not in self.natural}


def muon(learning_rate: Any, beta: Any = 0.95) -> optax.GradientTransformation:
    """Muon for matrices, Adam with the same learning rate for all other parameters.

    Args:
      learning_rate: of both.
      beta: momentum of Muon.

    Returns:
      The rule.

    Reference: Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024.
    """
    return optax.contrib.muon(learning_rate, beta=beta)


def schedule_free_adamw(learning_rate: Any, b1: Any = 0.9) -> optax.GradientTransformationExtraArgs:
    """Schedule-free AdamW without warmup and decay; judge it at `optax.contrib.schedule_free_eval_params`.

    Args:
      learning_rate: of Adam.
      b1: weight of the average in the point at which gradients are taken, in (0, 1).

    Returns:
      The rule.

    Reference: Defazio et al., The road less scheduled, 2024.
    """
    return optax.contrib.schedule_free_adamw(learning_rate, b1=b1)


def schedule_free_sgd(learning_rate: Any, b1: Any = 0.9) -> optax.GradientTransformationExtraArgs:
    """Schedule-free SGD without warmup; judged as `schedule_free_adamw`.

    Args:
      learning_rate: of the descent.
      b1: as there.

    Returns:
      The rule.
    """
    return optax.contrib.schedule_free_sgd(learning_rate, b1=b1)


def candidates_of(chosen: str | Sequence[str] | Mapping[str, Any]) -> dict[str, Candidate]:
    """The candidates of a comparison, by name.

    Args:
      chosen: names of `CANDIDATES`, or name -> `Candidate`, (factory, space), or None for that name's default.

    Returns:
      name -> candidate.

    Raises:
      InputError: an unknown name, a name twice, or something that is no rule with a space.

    Example:
      >>> list(candidates_of(["sgd", "heavy-ball"]))
      ['sgd', 'heavy_ball']
    """
    if not isinstance(chosen, Mapping):
        names = [chosen] if isinstance(chosen, str) else list(chosen)
        for name in names:
            if not isinstance(name, str):
                raise fail(
                    "compare", f"a rule must be a name of CANDIDATES, got {name!r}",
                    "Give your own with its space: {'mine': (factory, Space(learning_rate=log_uniform(1e-5, 1)))}.",
                )  # fmt: skip
        chosen = dict.fromkeys((name.replace("-", "_") for name in names), None)
        if len(chosen) < len(names):
            raise fail("compare", f"a rule is named twice: {', '.join(names)}")
    return {name: _candidate(name, given) for name, given in chosen.items()}


def _candidate(name: str, given: Any) -> Candidate:
    if given is None:
        require_choice("compare", "a rule", name, CANDIDATES)
        return CANDIDATES[name]
    if isinstance(given, Candidate):
        return given
    if isinstance(given, tuple) and len(given) == 2 and callable(given[0]) and isinstance(given[1], Space):
        return Candidate(*given)
    raise fail(
        "compare", f"rule {name} must be a Candidate or (factory, Space), got {given!r}",
        "Example: (optax.adam, Space(learning_rate=log_uniform(1e-5, 1))).",
    )  # fmt: skip


def _momentum(factory: Callable[..., Any], **contains: str) -> Candidate:
    space = Space(learning_rate=effective_rate(1e-3, 1e2), rho=one_minus_log_uniform(0.0, 0.99))
    return Candidate(factory, space, {"sgd": "rho = 0", **contains}, source=_SHALLUE)


def _curved(factory: Callable[..., Any]) -> Candidate:
    space = Space(learning_rate=log_uniform(1e-3, 1e1), damping=log_uniform(1e-4, 1e1))
    source = "Martens, Deep learning via Hessian-free optimization, ICML 2010, section 4"
    return Candidate(functools.partial(factory, max_norm=1.0, num_products=4), space, source=source)


_LONG = log_uniform(1e-3, 1e2)
_NORMALIZED = log_uniform(1e-5, 1.0)
_FIRST_MOMENT = one_minus_log_uniform(0.0, 0.99)
_NO_DECAY = (("weight_decay", "low"),)
_AVERAGE = one_minus_log_uniform(0.1, 0.99)  # optax divides by b1; b1 = 0 would be the average of Polyak and Ruppert
_NO_PULL = (("b1", "low"),)

CANDIDATES: dict[str, Candidate] = {
    "sgd": Candidate(rules.sgd, Space(learning_rate=_LONG), source=_SHALLUE),
    "heavy_ball": _momentum(rules.heavy_ball),
    "nesterov": _momentum(rules.nesterov),
    "nesterov_lookahead": _momentum(rules.nesterov_lookahead),
    "quasi_hyperbolic": Candidate(
        rules.quasi_hyperbolic,
        Space(learning_rate=_LONG, rho=one_minus_log_uniform(0.0, 0.999), nu=uniform(0.0, 1.0)),
        {"sgd": "nu = 0", "heavy_ball": "nu = 1"}, (("nu", "low"), ("nu", "high")),
        source="Ma and Yarats, Quasi-hyperbolic momentum and Adam, ICLR 2019",
    ),
    "aggregated_momentum": Candidate(
        rules.aggregated_momentum, Space(learning_rate=_LONG),
        source="Lucas et al., Aggregated momentum, ICLR 2019: rhos 0, .9, .99",
    ),
    "barzilai_borwein": Candidate(rules.barzilai_borwein, Space(learning_rate=_LONG), source="the first step alone"),
    "adagrad": Candidate(rules.adagrad, Space(learning_rate=_LONG), source="Duchi, Hazan and Singer, JMLR 2011"),
    "rmsprop": Candidate(
        rules.rmsprop, Space(learning_rate=_NORMALIZED, decay=one_minus_log_uniform(0.0, 0.999)), source=_CHOI
    ),
    "adam": Candidate(rules.adam, Space(learning_rate=_NORMALIZED, b1=_FIRST_MOMENT), source=_CHOI),
    "adamw": Candidate(
        optax.adamw, Space(learning_rate=_NORMALIZED, b1=_FIRST_MOMENT, weight_decay=log_uniform(1e-5, 1.0)),
        {"adam": "weight_decay = 0"}, _NO_DECAY, source="Loshchilov and Hutter, ICLR 2019",
    ),
    "lion": Candidate(
        optax.lion, Space(learning_rate=log_uniform(1e-6, 1e-1), weight_decay=log_uniform(1e-5, 1.0)),
        natural=_NO_DECAY, source="Chen et al., Symbolic discovery of optimization algorithms, 2023",
    ),
    "muon": Candidate(
        muon, Space(learning_rate=log_uniform(1e-4, 1e1), beta=_FIRST_MOMENT), source="Jordan et al. 2024"
    ),
    "adopt": Candidate(
        optax.contrib.adopt, Space(learning_rate=_NORMALIZED, b1=_FIRST_MOMENT),
        source="Taniguchi et al., ADOPT: modified Adam can converge with any beta2, NeurIPS 2024",
    ),
    "ademamix": Candidate(
        optax.contrib.ademamix, Space(learning_rate=_NORMALIZED, b1=_FIRST_MOMENT, alpha=uniform(0.0, 10.0)),
        {"adam": "alpha = 0"}, (("alpha", "low"),),
        source="Pagliardini, Ablin and Grangier, The AdEMAMix optimizer, ICLR 2025",
    ),
    "sophia": Candidate(
        sophia, Space(learning_rate=_NORMALIZED, gamma=log_uniform(1e-3, 1.0)), source="Liu et al., Sophia, ICLR 2024"
    ),
    "prodigy": Candidate(
        optax.contrib.prodigy, Space(learning_rate=log_uniform(10**-2.5, 10**2.5)),
        source="Mishchenko and Defazio, Prodigy, ICML 2024: 1, of the rate that the rule estimates by itself",
    ),
    "schedule_free_sgd": Candidate(
        schedule_free_sgd, Space(learning_rate=_LONG, b1=_AVERAGE), natural=_NO_PULL,
        evaluated=optax.contrib.schedule_free_eval_params, source="Defazio et al. 2024",
    ),
    "schedule_free_adamw": Candidate(
        schedule_free_adamw, Space(learning_rate=_NORMALIZED, b1=_AVERAGE), natural=_NO_PULL,
        evaluated=optax.contrib.schedule_free_eval_params, source="Defazio et al. 2024",
    ),
    "saddle_free_newton": _curved(rules.saddle_free_newton),
    "newton_cg": _curved(rules.newton_cg),
}  # fmt: skip
