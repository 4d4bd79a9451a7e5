"""The table of rules: every law in the tests runs over it; a new rule is one function and one entry."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import optax

from jaxopt_lab.rules.accelerated import adaptive_restart, chebyshev, triple_momentum
from jaxopt_lab.rules.adaptive import adagrad, adam, rmsprop
from jaxopt_lab.rules.averaging import average_iterates
from jaxopt_lab.rules.escape import negative_curvature_step, noisy, perturbed
from jaxopt_lab.rules.momentum import (
    aggregated_momentum,
    heavy_ball,
    nesterov,
    nesterov_lookahead,
    quasi_hyperbolic,
    sgd,
)
from jaxopt_lab.rules.second_order import cubic_newton, newton_cg, saddle_free_newton
from jaxopt_lab.rules.spectral_steps import barzilai_borwein


@dataclasses.dataclass(frozen=True)
class RuleSpec:
    """One entry of the table of rules.

    Attributes:
      factory: hyperparameters -> `optax.GradientTransformation`.
      defaults: a full set of hyperparameters, fit for a loss whose curvature is at most 1.
      needs: extra inputs of `update` ("value", "grad", "value_fn", "grad_fn"); empty for a rule that takes gradients
        alone.
      reference: where the rule is from.
      coordinatewise: whether each coordinate's update depends on that coordinate alone, so that a separable loss may be
        run chunk by chunk.
      exempt: laws of `lab.testing.RULE_LAWS` that do not hold for it, each with the reason.
    """

    factory: Callable[..., optax.GradientTransformationExtraArgs]
    defaults: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    reference: str = ""
    coordinatewise: bool = True
    exempt: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def build(self, **hyperparameters: Any) -> optax.GradientTransformationExtraArgs:
        """The rule at its defaults, with those given replaced."""
        return self.factory(**{**self.defaults, **hyperparameters})


_SQUARES = {"gradients of any size stay finite": "optax squares gradients in their own precision, where they overflow"}

REGISTRY: dict[str, RuleSpec] = {
    "sgd": RuleSpec(sgd, {"learning_rate": 0.1}, reference="Robbins and Monro 1951"),
    "heavy_ball": RuleSpec(heavy_ball, {"learning_rate": 0.1, "rho": 0.9}, reference="Polyak 1964"),
    "nesterov": RuleSpec(nesterov, {"learning_rate": 0.1, "rho": 0.9}, reference="Nesterov 1983"),
    "nesterov_lookahead": RuleSpec(
        nesterov_lookahead, {"learning_rate": 0.1, "rho": 0.9}, ("grad_fn",), "Sutskever et al. 2013"
    ),
    "triple_momentum": RuleSpec(
        triple_momentum, {"smoothness": 1.0, "strong_convexity": 0.01}, reference="Van Scoy, Freeman and Lynch 2018"
    ),
    "chebyshev": RuleSpec(chebyshev, {"smoothness": 1.0, "strong_convexity": 0.01}, reference="Golub and Varga 1961"),
    "adaptive_restart": RuleSpec(
        adaptive_restart,
        {"inner": nesterov(0.1, 0.9), "scheme": "gradient"},
        reference="O'Donoghue and Candes 2015",
        coordinatewise=False,
    ),
    "quasi_hyperbolic": RuleSpec(
        quasi_hyperbolic, {"learning_rate": 0.1, "rho": 0.999, "nu": 0.7}, reference="Ma and Yarats 2019"
    ),
    "aggregated_momentum": RuleSpec(
        aggregated_momentum, {"learning_rate": 0.1, "rhos": (0.0, 0.9, 0.99)}, reference="Lucas et al. 2019"
    ),
    "adagrad": RuleSpec(
        adagrad,
        {"learning_rate": 0.1, "initial_accumulator_value": 0.1, "eps": 1e-7},
        reference="Duchi, Hazan and Singer 2011",
        exempt=_SQUARES,
    ),
    "rmsprop": RuleSpec(
        rmsprop,
        {"learning_rate": 0.1, "decay": 0.9, "eps": 1e-8},
        reference="Tieleman and Hinton 2012",
        exempt=_SQUARES,
    ),
    "adam": RuleSpec(
        adam,
        {"learning_rate": 0.1, "b1": 0.9, "b2": 0.999, "eps": 1e-8},
        reference="Kingma and Ba 2015",
        exempt=_SQUARES | {"injected hyperparameters give the same steps": "1 - b2 of a float32 b2 has four digits"},
    ),
    "barzilai_borwein": RuleSpec(
        barzilai_borwein,
        {"learning_rate": 0.1, "variant": "long", "minimum": 1e-10, "maximum": 1e10},
        reference="Barzilai and Borwein 1988",
        coordinatewise=False,
    ),
    "average_iterates": RuleSpec(
        average_iterates,
        {"inner": heavy_ball(0.1, 0.9), "kind": "uniform", "decay": 0.999, "start": 0},
        reference="Polyak and Juditsky 1992",
    ),
    "perturbed": RuleSpec(
        perturbed,
        {"inner": sgd(0.1), "gradient_threshold": 1e-3, "radius": 1e-3, "wait": 50, "seed": 0},
        reference="Jin et al. 2017",
        coordinatewise=False,
    ),
    "noisy": RuleSpec(
        noisy,
        {"inner": sgd(0.1), "noise": 1e-3, "decay": 0.55, "seed": 0},
        reference="Ge et al. 2015",
        coordinatewise=False,
    ),
    "negative_curvature_step": RuleSpec(
        negative_curvature_step,
        {
            "inner": sgd(0.1),
            "gradient_threshold": 1e-3,
            "curvature_threshold": 1e-3,
            "distance": 0.1,
            "wait": 10,
            "num_products": 4,
            "seed": 0,
        },
        ("grad_fn",),
        "Carmon et al. 2018",
        coordinatewise=False,
    ),
    "saddle_free_newton": RuleSpec(
        saddle_free_newton,
        {"learning_rate": 0.5, "damping": 1e-2, "max_norm": 1.0, "num_products": 4},
        ("grad_fn",),
        "Dauphin et al. 2014",
        coordinatewise=False,
    ),
    "cubic_newton": RuleSpec(
        cubic_newton,
        {"hessian_lipschitz": 1.0, "num_products": 4},
        ("grad_fn",),
        "Nesterov and Polyak 2006",
        coordinatewise=False,
    ),
    "newton_cg": RuleSpec(
        newton_cg,
        {
            "learning_rate": 0.5,
            "damping": 1e-2,
            "max_norm": 1.0,
            "tolerance": 0.1,
            "num_products": 4,
            "curvature": "hessian",
        },
        ("grad_fn",),
        "Steihaug 1983",
        coordinatewise=False,
    ),
}
