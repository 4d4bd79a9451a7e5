"""A wrong measurement for each study, which its claims must notice."""

import numpy as np

from experiments.generalization import babysitting


def scaled(**factors):
    """A spoiler that multiplies what was measured, where a row has it."""

    def spoil(row):
        measured = {name: row[name] for name in factors if row.get(name) is not None}
        row.update({name: np.asarray(value) * factors[name] for name, value in measured.items()})

    return spoil


def spoil_cosine(row):
    if row["kind"] == "constant rate":
        row["cosine"] = np.abs(row["cosine"])


def spoil_distance(row):
    if "measured" in row:
        row["measured"] = 1.02 * row["measured"] + row["every"]


def spoil_loss(row):
    if row["kind"] == "single run":
        row["loss"] = 0.5 / (1 + row["steps"])


def spoil_spectrum(row):
    if "norm" in row:
        top = 10 if row["norm"] == "batch" else 0.5
        row["largest"] = np.append(row["largest"][:9] * top, row["largest"][9:])
    scaled(count=2, overlap=0.8, difference=3, distance=2)(row)
    if row.get("norm") == "batch":
        row["mean"] *= 0.1


def spoil_index(row):
    row["index"] = 1 - row["index"]


def spoil_share(row):
    if row["kind"] == "network":
        row.update(share=0.9, low=0.8, high=0.95, slope=np.ones_like(row["slope"]))
    else:
        row["smallest"] = -1.0


def spoil_costs(row):
    if row["method"] in ("heavy ball", "Newton-CG"):
        row["arrival"] *= {"heavy ball": 10, "Newton-CG": 500}[row["method"]] * row["gap"] ** 0.5
    row.update(share=0.5, escape_steps=2 * row["escape_steps"])


def spoil_race(row):
    row["share"] = np.roll(row["share"], 1) * np.linspace(0.5, 1, len(row["share"]))


def spoil_diagnosis(row):
    row["found"] = "saddle"


def spoil_told(row):
    row["told"] = "saddle"


def spoil_explained(row):
    if row.get("name") in ("learning_rate", "effective_rate"):
        row["share"] *= 0.2


def spoil_arrivals(row):
    row["steps"] = row["steps"] * row["learning_rate"] ** -0.2


def spoil_comparison(row):
    if row.get("rule") == "adam":
        row.update(start=1.1 * row["start"], share_spent=1.1, best_of_two=float("inf"))
    if {row.get("first"), row.get("second")} == {"sgd", "heavy_ball"}:
        row.update(first="sgd", second="heavy_ball", outcome="under-tuned")


def spoil_adaptive(row):
    scaled(step=1.001, distance=1.01, median=0.5, weight=1.1)(row)
    if row["kind"] == "warm-up":
        row["product"] = 3.0
    if row["kind"] == "counterexample":
        row["end"] *= -1
    elif row["kind"] == "rotation" and row["axes"] == "turned":
        row["loss"] = row["loss"] * (1e-40 if row["method"] == "Adam" else 1.1)
    elif row["kind"] == "classes" and row["frequencies"] == "equal":
        row["best"] *= 0.5 if row["method"] == "Adam" else 2


def spoil_kappas(row):
    if row["kind"] == "square":
        row["log_kappa"] *= 1.5
    scaled(share=2.0)(row)
    if row["kind"] == "data":
        row["kappa"] *= (row["dim"] / 25) ** 0.5
    if row["kind"] == "symmetric":
        row["log_kappa"] *= 1.3
    if row["kind"] == "network":
        row.update(largest=row["largest"] * row["dim"] ** 2, ratio=row["ratio"] * row["dim"] ** 2, smallest=1e-3)


def spoil_flatness(row):
    scaled(risk=2.0 * (row.get("num", 0) / 110) ** 2, flat=0.5, sharpness=1.1)(row)
    if row["kind"] == "least squares":
        row["largest"] /= row["num"]
    if row["kind"] == "network":
        row.update(sharpness=row["gap"], adaptive=1.0)
    if row["kind"] == "SAM":
        row.update(sharpness=2.0, adaptive=0.1, gap=0.1)


def spoil_activations(row):
    if row["kind"] == "random":
        row.update(log_factor=0.7 * row["log_factor"] - 0.1, left=1.0)
    else:
        row["loss"] = 2.3 - row["loss"]


def spoil_preprocessing(row):
    scaled(sensitivity=1.3, linear=1.5, curvature=1.1, dead=1.5)(row)
    if row["kind"] == "trained" and row["scaling"] == "standardize":
        row["steps"] = 5.0 if row["offset"] else 3 * row["steps"]


def spoil_initialization(row):
    scaled(log=0.8, back=0.8, scatter=2, square=1.5, apart=1.5)(row)
    if row["kind"] == "trained":
        row.update(loss=2.3 - min(row["loss"], 2.3), shrunk=1.0)


def spoil_transfer(row):
    scaled(risk=1.2)(row)
    if row["kind"] == "network":
        row["errors"] = 0.3 + 0.1 * np.sin(row["num"] + np.arange(len(row["errors"])))
        row["error_rate"] = 0.3


def spoil_noise(row):
    scaled(variance=1.3, total=1.5)(row)
    if row["kind"] == "noises":
        row["dropout"] *= 0.2
    if row["kind"] == "trained":
        row["held_out"] = np.full(len(row["held_out"]), 1.3 if row["method"] == "dropout" else 1.0)


def spoil_curves(row):
    if row["kind"] == "twin":
        row.update(found="saddle", loss=row["loss"] * (1 + 0.01 * (row["planted"] == "ill-conditioned")))
    else:
        diverges = row["planted"] in babysitting.DIVERGES
        row.update(thumb="healthy" if diverges else row["planted"], logged="saddle")


def spoil_normalization(row):
    scaled(mean=1e12, variance=5, cosine=1e6, gradient=1.1, curvature=1.1, factor=1.2, angle=1.1, correlation=1.1)(row)
    if row["kind"] == "trained":
        row.update(evaluation=0.5, training=0.5, whole=0.4, held_out=1.0 + (row["affine"] == "neither"))


def spoil_regularization(row):
    scaled(penalty=1.3, kappa=1.1, steps=1.3, bias_ratio=1.1, variance_ratio=1.3)(row)
    if row["kind"] == "network":
        held = {"L2": 1.2, "stopped early": 0.5}.get(row["method"], 1.0)
        gap = {"L2": 1.2, "batch normalization": 0.2}.get(row["method"], 1.0)
        row.update(
            {
                name: np.full(len(row["gap"]), value)
                for name, value in (("gap", gap), ("held_out", held), ("wrong", 0.1))
            }
        )


SPOILERS = {
    "babysitting": (spoil_curves, 5),
    "transfer": (spoil_transfer, 4),
    "dropout_noise": (spoil_noise, 5),
    "preprocessing_networks": (spoil_preprocessing, 7),
    "initialization_map": (spoil_initialization, 8),
    "regularization": (spoil_regularization, 11),
    "batch_norm": (spoil_normalization, 13),
    "activations_and_depth": (spoil_activations, 5),
    "flat_and_sharp": (spoil_flatness, 9),
    "how_many_at_once": (scaled(hits=0.7, rank_hits=0.8, log_trials=1.3, one_by_one=0.99), 4),
    "kappa_and_dimension": (spoil_kappas, 6),
    "wiggling_line": (scaled(error=1.3, ratio=2.0, worst_class=0.8), 3),
    "adaptive_methods": (spoil_adaptive, 10),
    "convergence_rates": (scaled(decay=1.02, curve_error=1e9, steps=1.01), 11),
    "transient_growth": (scaled(growth=1.001), 4),
    "zigzag": (spoil_cosine, 2),
    "preprocessing": (spoil_distance, 2),
    "single_run_average_case": (spoil_loss, 2),
    "nesterov_forms": (scaled(optax=1e6, ratio=1.5), 2),
    "overshoot": (scaled(overshoot=1.01), 2),
    "phase_diagram": (scaled(decay=1.1, best_rho=1.2), 3),
    "rules_on_networks": (spoil_comparison, 4),
    "signal_response": (scaled(gain=1.01, coasting=1.1, sum_of_weights=1.1), 5),
    "noise_floors": (scaled(variance=1.5, step_variance=1.5), 5),
    "batch_size_map": (scaled(measured_steps=1.5, edge=1.1), 3),
    "noise_scale": (scaled(noise_scale=2.0, product=2.0), 2),
    "network_spectra": (spoil_spectrum, 6),
    "network_noise_scale": (scaled(gain=1.5, curved=0.05, simple_low=3.0), 3),
    "escape_time": (scaled(mean=1.2, steps=1.05), 5),
    "exponential_octopus": (scaled(ratio=1.02), 2),
    "network_index": (spoil_index, 3),
    "minima_are_rare": (scaled(log10=1.01, share=1.3, variance=1.5), 5),
    "index_against_energy": (spoil_index, 3),
    "bad_minima_exist": (spoil_share, 3),
    "second_order_escape": (spoil_costs, 5),
    "sharp_minima_race": (spoil_race, 6),
    "low_rate_and_catapult": (scaled(sharpness=3.0, peak=1e-4, arrival=1.1), 5),
    "predictable_plateaus": (scaled(times=1.05, levels=1.01, time=1.05), 8),
    "edge_of_any_rule": (scaled(share=1.5, radius=2.0, taken_back=1.5), 8),
    "edge_of_stability": (scaled(ratio=1.1, sharpness=3.0), 5),
    "edge_of_stochastic_stability": (scaled(share=1.3, top=2.0), 4),
    "random_against_grid": (scaled(measured=0.9, rank=0.98), 9),
    "coarse_to_fine": (scaled(largest=1.2, gain=0.8, first_lost=3.0, loss=1.5, upper_end=10.0), 5),
    "block_coordinate": (scaled(factor=1.1, loss=2.0, best_rate=3.0), 3),
    "small_rate_cost": (spoil_arrivals, 3),
    "learning_rate_matters_most": (spoil_explained, 3),
    "confusion_matrix": (spoil_diagnosis, 3),
    "reported_faults": (spoil_told, 3),
}
