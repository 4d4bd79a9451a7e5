"""The lecture's claims 1 to 22: activations, first weights, preprocessing, batch normalization, search."""

from experiments.lecture_claim import IF, RIGHT, WRONG, LectureClaim
from jaxopt_lab.theory import batch_norm, finite_width, mean_field, preprocessing, search, stability

_SIGMOID = float(mean_field.mean_field_factor("sigmoid", 1.0).factor)


def _tanh_square(depth: int) -> float:
    """Mean square of the pre-activations behind so many layers of tanh at Xavier's scale."""
    square = 1.0
    for _ in range(depth - 1):
        square = float(mean_field.mean_field_step("tanh", square, 1.0).variance)
    return square


# fmt: off
NETWORKS: dict[int, LectureClaim] = {
    1: LectureClaim(
        "Gradients vanish through sigmoids.", RIGHT,
        f"Ten layers at Xavier's scale leave {_SIGMOID ** 5:.0e} of the gradient's norm, {_SIGMOID ** 0.5:.4f} a"
        " layer.",
        "activations_and_depth", "Every layer changes the gradient by the mean-field factor"),
    2: LectureClaim(
        "Tanh has the same trouble.", WRONG,
        f"At Xavier's scale its factor tends to {mean_field.mean_field_factor('tanh', 1.0).factor:.0f} a layer: the"
        " gradient falls as a power of the depth, and 16 layers train.",
        "activations_and_depth", "Tanh has no similar problem at Xavier's scale"),
    3: LectureClaim(
        "Stay with ReLU.", IF,
        "With He's scale it keeps the gradient, factor 1 a layer, and 16 layers train; tanh at its own scale does"
        " too.",
        "activations_and_depth", "Tanh and ReLU train at * layers"),
    4: LectureClaim(
        "Weights that start too small make activations vanish.", RIGHT,
        f"A ReLU layer multiplies squares by v / 2: at v = 1, Xavier's, {0.5 ** 20:.1e} is left after 20 layers.",
        "initialization_map", "A layer of ReLU multiplies squares by v / 2"),
    5: LectureClaim(
        "Weights that start too large make them explode.", RIGHT,
        f"At v = 4, {2.0 ** 20:.1e} times after 20 layers; what enlarges squares e^12 times trains at a rate below"
        " e^-3 of the usual one, or not at all.",
        "initialization_map", "Where all layers enlarge squares e^* times, only a much smaller rate trains, or none"),
    6: LectureClaim(
        "Xavier's and He's scales keep the distribution of activations.", IF,
        "He's in the mean; the logarithm's variance is"
        f" {100 * finite_width.log_length_step('relu', 100).variance:.1f} L / N. Xavier's with tanh leaves"
        f" {_tanh_square(20):.3f} of the mean square after 20 layers, 1 / (2 l).",
        "initialization_map", "Xavier's scale and tanh keep no distribution: the mean square falls as 1 / (2 l)"),
    7: LectureClaim(
        "The scale matters more the deeper the network.", RIGHT,
        "The room for ln v shrinks as 1 / depth: networks train where all layers change squares by e^3 or less.",
        "initialization_map", "Networks train where all layers together change squares by less than e^*"),
    8: LectureClaim(
        "Bring inputs to mean 0 and variance 1.", RIGHT,
        "A mean of one deviation in each of 100 inputs makes kappa"
        f" {preprocessing.condition_number_with_bias(10.0):,.0f}; standardizing takes the digits' from 6.5e6 to 146.",
        "preprocessing", "Uncentred inputs with a bias unit have the condition number of the closed form"),
    9: LectureClaim(
        "Far from the origin a small wiggle of the line errs much.", RIGHT,
        f"A turn of 0.05 errs on {preprocessing.rotated_line_error(0.05, 0.0, 4.0):.1%} of centred data and on"
        f" {preprocessing.rotated_line_error(0.05, 50.0, 4.0):.1%} of data 50 deviations away.",
        "wiggling_line", "The error of a line that turns follows its closed form at every distance and angle"),
    10: LectureClaim(
        "Without normalization the loss reacts to small changes of a layer's weights.", RIGHT,
        "A mean of r deviations makes the outputs 1 + r^2 times as sensitive: 10 at r = 3.",
        "preprocessing_networks", "A layer with means of r deviations is 1 + r^2 times as sensitive to its weights"),
    11: LectureClaim(
        "Batch normalization gives activations mean 0 and variance 1.", IF,
        f"Exactly; but it makes the squared gradient of a random ReLU network {batch_norm.gradient_growth():.4f}"
        " times larger with each layer.",
        "batch_norm", "In a random network it makes the squared gradient pi / (pi - 1) times larger a layer"),
    12: LectureClaim(
        "Scale and shift may undo the normalization.", IF,
        "The outputs' range, yes; the weights' length has no effect all the same, and with weight decay they turn by"
        f" {batch_norm.equilibrium_angle(0.001):.4f} a step at lr wd = 0.001.",
        "batch_norm", "With weight decay the weights turn by arccos(1 - lr wd) a step"),
    13: LectureClaim(
        "Watch the loss curve.", IF,
        "That a run diverges or overfits it shows; not why it is slow: a rate 1,000 times too low and a condition"
        f" number of 1,000 both leave {(1 - 1e-3) ** 400:.3f} of the loss after 200 steps.",
        "babysitting", "A rate too low and a bad condition number have the same curve"),
    14: LectureClaim(
        "The validation curve reaches a plateau.", IF,
        "The plateau does not say which: of six causes of a slow or flat run a rule of thumb names half at most; what"
        " is measured beside the curve tells them apart.",
        "babysitting", "Why a run is slow is not"),
    15: LectureClaim(
        "Random search is nicer than a grid in theory.", IF,
        "Where one of three matters, 64 random trials hit a twentieth of its range with a chance of"
        f" {search.random_hit_probability(64, 0.05):.0%}, a grid with {search.grid_hit_probability(4, 0.05):.0%}; where"
        f" all matter, random hits a cell of the grid's with {search.random_hit_probability(64, 1 / 64):.0%}, the grid"
        " always.",
        "random_against_grid", "Where one of * matters, a grid hits less often than random trials"),
    16: LectureClaim(
        "The model is more sensitive to some hyperparameters than to others.", RIGHT,
        "Random search lives on it: where all of them matter, a grid always hits a cell of its own size.",
        "random_against_grid", "Where all * matter, a grid always hits"),
    17: LectureClaim(
        "First a coarse stage of few iterations.", IF,
        "Narrowing pays, but 100 steps prefer a rate far below that of 1,000, and their box excludes it.",
        "coarse_to_fine", "A box drawn by * steps excludes the best rate of *"),
    18: LectureClaim(
        "Choose ranges so wide that runs blow up at the ends.", RIGHT,
        f"The end is known: lr times the largest eigenvalue is {stability.gradient_descent_edge():.0f} for descent,"
        f" {stability.heavy_ball_edge(0.9):.1f} for momentum of 0.9.",
        "phase_diagram", "* converges at 0.99 and diverges at 1.01 of *"),
    19: LectureClaim(
        "The combinations are exponentially many: two to four hyperparameters at a time.", IF,
        "60 trials bring all within a tenth of the range with"
        f" {search.random_hit_probability(60, search.accurate_share(2, 0.1)):.0%} for two and"
        f" {search.random_hit_probability(60, search.accurate_share(4, 0.1)):.0%} for four; a good rank costs"
        f" {search.trials_to_hit(0.95, 0.05):.0f} for any number.",
        "how_many_at_once", "The trials that it takes grow exponentially"),
    20: LectureClaim(
        "The learning rate is the important one.", RIGHT,
        "It explains more of the final loss than any other of five; lr / (1 - rho) explains more than it does.",
        "learning_rate_matters_most",
        "The learning rate explains more of the final loss than any other hyperparameter"),
    21: LectureClaim(
        "Search a few at a time, block by block.", IF,
        f"A sweep leaves r^2 of the distance where two interact by r: {search.block_coordinate_factor(0.99):.0%} at"
        " .99.",
        "block_coordinate", "A sweep leaves r^2 of the distance to the optimum of a quadratic response"),
    22: LectureClaim(
        "For learning rates such interactions hardly matter.", WRONG,
        "The best rate falls as 1 - rho: search lr / (1 - rho) and rho instead.",
        "block_coordinate", "The best learning rate falls like 1 - rho"),
}
# fmt: on
