"""One folder a question, one script a claim: each script is a study that ends in verdicts.

`python -m experiments --preset quick` runs the headline studies and writes one report over all of them. Where the
package is installed without its repository, this is `jaxopt_lab.experiments`.
"""

import sys

sys.modules.setdefault("experiments", sys.modules[__name__])  # under which its files import one another

HEADLINE = (
    "convergence_rates",
    "transient_growth",
    "zigzag",
    "preprocessing",
    "single_run_average_case",
    "signal_response",
    "phase_diagram",
    "nesterov_forms",
    "overshoot",
    "noise_floors",
    "batch_size_map",
    "edge_of_stability",
    "predictable_plateaus",
    "index_against_energy",
    "bad_minima_exist",
    "initialization_map",
    "adaptive_methods",
    "wiggling_line",
    "transfer",
)
