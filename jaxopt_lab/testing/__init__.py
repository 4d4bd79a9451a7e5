"""What holds for every update rule, problem and operator, as checks for a researcher's own tests.

    import jaxopt_lab as lab

    def test_my_rule():
        lab.testing.check_rule(my_rule, {"learning_rate": 0.1, "rho": 0.9})

Each check runs all laws of its kind and raises an AssertionError that names the law. `RULE_LAWS`, `PROBLEM_LAWS` and
`OPERATOR_LAWS` are the laws by name, for one test each: `@pytest.mark.parametrize("law", lab.testing.RULE_LAWS)`.
"""

from jaxopt_lab.testing.laws import LawError
from jaxopt_lab.testing.operators import OPERATOR_LAWS, check_operator
from jaxopt_lab.testing.problems import PROBLEM_LAWS, check_problem
from jaxopt_lab.testing.rules import RULE_LAWS, check_rule

__all__ = [
    "LawError",
    "OPERATOR_LAWS",
    "PROBLEM_LAWS",
    "RULE_LAWS",
    "check_operator",
    "check_problem",
    "check_rule",
]
