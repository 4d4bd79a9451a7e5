"""The lecture's claims 23 to 67: rates, descent and its troubles, momentum, what is announced."""

import numpy as np

from experiments.lecture_claim import IF, RIGHT, WRONG, LectureClaim
from jaxopt_lab.theory import (
    geometry,
    landscapes,
    least_squares,
    minibatch,
    momentum_response,
    noise_floors,
    noise_scale,
    positivity,
    random_matrices,
    rates,
    regularization,
    saddle_chains,
    stability,
    transients,
)
from jaxopt_lab.theory.escapes import growth_factor

RHO = 0.9


def _steps(contraction: float, accuracy: float = 1e-6) -> float:
    return float(rates.steps_to_accuracy(contraction, accuracy))


_DESCENT, _HEAVY, _NESTEROV = (
    float(tune(1e6, 1.0).contraction)
    for tune in (rates.optimal_gradient_descent, rates.optimal_heavy_ball, rates.optimal_nesterov)
)
_GAIN = [float(np.log(growth_factor(h, RHO)) / np.log(growth_factor(h))) for h in (1e-3, 1.0)]
_FLOOR = [
    float(noise_floors.stationary_variance(rate, 1.0, 1.0, RHO) / noise_floors.stationary_variance(0.01, 1.0, 1.0))
    for rate in (0.01, 0.01 * (1 - RHO))
]
_AHEAD = float(
    noise_floors.lookahead_variance(0.1, 1.0, 1.0, RHO, RHO) / noise_floors.stationary_variance(0.1, 1.0, 1.0, RHO, RHO)
)
_RISK = [float(least_squares.excess_risk(180, num)) for num in (200, 400)]
_OVER = [
    float(transients.overshoot(rate, 1.0, RHO, RHO) / transients.overshoot(rate, 1.0, RHO)) for rate in (0.9, 0.01)
]

# fmt: off
OPTIMIZATION: dict[int, LectureClaim] = {
    23: LectureClaim(
        "Set the rate a little below the best.", IF,
        "Half of the best rate takes twice the steps.",
        "small_rate_cost", "A rate * times lower takes so many times the steps"),
    24: LectureClaim(
        "A small rate always works and takes so many times longer.", RIGHT,
        "A rate 100 times smaller takes"
        f" {_steps(1 - 0.000198) / _steps(1 - 0.0198):.0f} times the steps at kappa 100.",
        "small_rate_cost", "On a quadratic the steps are ln(1 / accuracy) / -ln(1 - lr mu)"),
    25: LectureClaim(
        "A small rate does not get stuck in practice.", IF,
        "Not in the loss; but below lr sharpness = 2 it ends as sharp as it began.",
        "low_rate_and_catapult", "Below lr sharpness = 2 a run stays as sharp as it began"),
    26: LectureClaim(
        "The gradient is the direction of greatest decrease.", RIGHT,
        "Of the next infinitesimal step: to the minimum it may point with a cosine of"
        f" {geometry.worst_gradient_cosine(100.0):.3f} at kappa 100.",
        "zigzag", "At the worst point the gradient is nearly orthogonal to the way"),
    27: LectureClaim(
        "The ratio of extreme singular values of the Hessian measures the trouble.", RIGHT,
        f"Descent needs {_steps(_DESCENT):.1e} steps to 1e-6 at kappa 1e6, momentum {_steps(_HEAVY):,.0f}.",
        "convergence_rates", "* needs O(*) steps"),
    28: LectureClaim(
        "The gradient does not point to the minimum.", RIGHT,
        "A typical point of a spectrum even in the logarithm has a cosine of"
        f" {geometry.log_uniform_gradient_cosine(10000.0):.2f} at kappa 1e4.",
        "zigzag", "At a random point in high dimension the gradient is mildly misaligned"),
    29: LectureClaim(
        "Descent zig-zags and is slow along the flat direction.", IF,
        f"At a fixed rate it zig-zags for good above 2 / (L + mu) only, {geometry.zig_zag_threshold(1.0, 0.01):.4f}"
        " / L at kappa 100; below, steps turn parallel.",
        "zigzag", "Successive steps of gradient descent turn *"),
    30: LectureClaim(
        "Bad conditioning is more common in high dimensions.", IF,
        f"{random_matrices.marchenko_pastur_condition_number(0.25):.2f} at four examples a parameter and"
        f" {random_matrices.marchenko_pastur_condition_number(0.5):.2f} at two, in any dimension; with the"
        " spectrum's shape it can grow, as N for a random symmetric Hessian.",
        "kappa_and_dimension", "and it does not grow with the dimension"),
    31: LectureClaim(
        "Descent gets stuck in local minima.", IF,
        "It can: of runs of 10 ReLU neurons that learn 10 a third ends in a bad one, with one neuron more hardly"
        " any.",
        "bad_minima_exist", "Runs that are stuck are stuck in minima: no gradient, no direction down"),
    32: LectureClaim(
        "Descent gets stuck at saddles.", IF,
        f"From a random point it leaves: from 1e2 to 1e8 dimensions {0.5 * np.log(1000000.0) / np.log(1.01):.0f}"
        f" steps more at h = .01. Chains of saddles cost {saddle_chains.octopus_ratio(1 / 8, 1.0, 1.0):.2f} times as"
        " long at each.",
        "exponential_octopus", "* multiplies its exit time at each saddle as the law says"),
    33: LectureClaim(
        "Saddles are almost everywhere.", IF,
        "High up; in a 3-spin glass no direction leads down below an energy of"
        f" {landscapes.spherical_threshold(3):.3f}.",
        "index_against_energy", "The height says the index of a critical point of the *, to one direction in *"),
    34: LectureClaim(
        "A minimum needs every direction to go up, which is rare.", RIGHT,
        "Rarer than 2^-N: no direction of a random symmetric Hessian leads down with a chance of"
        f" {float(positivity.minimum_probability(10)):.1e} at N = 10, and it falls as 3^(-N^2 / 4).",
        "minima_are_rare", "The Pfaffian is the probability that a random symmetric matrix has no negative eigenvalue"),
    35: LectureClaim(
        "In large networks it is about saddles, not minima.", IF,
        "The lower the loss, the fewer directions lead down: the lowest critical point of a network is a minimum.",
        "network_index", "The index of critical points grows with the loss, over * distinct ones"),
    36: LectureClaim(
        "Near a saddle progress is very slow.", RIGHT,
        "The plateau of a singular value s lasts ln(sqrt(s) / a) / ln(1 + lr s) steps from weights of size a.",
        "predictable_plateaus", "* learns each of * values *"),
    37: LectureClaim(
        "Minibatch gradients are noisy estimates.", RIGHT,
        f"The batch whose noise is as large as its signal is d + 1 = {noise_scale.isotropic_noise_scale(1000):,.0f} in"
        " 1,000 dimensions of linear regression; a network's grows as it learns.",
        "network_noise_scale", "The noise scale grows by orders of magnitude while the network trains"),
    38: LectureClaim(
        "A picture of it: uniform noise on every gradient.", IF,
        f"It has the variance a^2 / 3 = {noise_floors.uniform_noise_variance(1.0):.3f}, and a floor; but a batch's"
        " noise grows with the error, and moves the edge too.",
        "noise_floors", "*: the variance is the closed form's at all * learning rates"),
    39: LectureClaim(
        "With noise it may take long.", RIGHT,
        f"At batch 1 in 1,000 dimensions the rate must stay below {minibatch.isotropic_edge(1000, 1):.4f} / L in"
        f" place of {stability.gradient_descent_edge():.0f} / L.",
        "batch_size_map", "Real runs need the exact number of steps at batch size *"),
    40: LectureClaim(
        "The full batch does not solve these problems.", RIGHT,
        "More examples a step stop saving steps where conditioning takes over.",
        "batch_size_map", "A full batch leaves conditioning as it is: SGD's steps stop falling"),
    41: LectureClaim(
        "Noise may come from the network itself.", RIGHT,
        "It adds to that of minibatches, and has a mean that theirs has not: dropout at p adds the penalty p / (1 - p)"
        f" sum w^2 E x^2, at a half {regularization.dropout_penalty([1.0], [1.0], 0.5):.0f} times the sum; averaged"
        " over masks it does the same.",
        "dropout_noise", "The noises of the batch and of dropout add up"),
    42: LectureClaim(
        "Velocity decays by friction rho, 0.9 commonly.", RIGHT,
        f"It is up to 90 % of its final size after {momentum_response.steps_to_speed(0.9, RHO):.1f} steps.",
        "signal_response", "Velocity builds up to 90 % in ln 0.1 / ln rho steps, rho = *"),
    43: LectureClaim(
        "Momentum helps with all of these problems.", IF,
        "With conditioning, as sqrt(kappa); but tuned it first errs"
        f" {transients.heavy_ball_peak_asymptote(1e6):.0f} times more at kappa 1e6, and in small batches it gains"
        " nothing.",
        "transient_growth", "The loss along the top eigenvector first grows by kappa / e^2"),
    44: LectureClaim(
        "Without a gradient the velocity carries on.", RIGHT,
        f"For rho / (1 - rho) = {momentum_response.coasting_distance(1.0, RHO):.0f} last steps in all, no further.",
        "signal_response", "Without a gradient a run coasts rho / (1 - rho) last steps, no further, rho = *"),
    45: LectureClaim(
        "Momentum gets over local minima.", IF,
        "Over flat ones; in sharp ones it stays where descent leaves: they hold it up to lr lambda ="
        f" {stability.heavy_ball_edge(RHO):.1f}, descent up to {stability.gradient_descent_edge():.0f}.",
        "sharp_minima_race", "The sharp minimum holds * up to its edge, *"),
    46: LectureClaim(
        "Momentum carries through saddles.", IF,
        f"{_GAIN[0]:.1f} times faster at lr |lambda| = .001, {_GAIN[1]:.2f} times at 1, never more than 1 / (1 -"
        " rho) = 10.",
        "escape_time", "From a known start * leaves when the law says"),
    47: LectureClaim(
        "Zig-zags cancel in the velocity.", IF,
        f"They are halved at best: {momentum_response.alternating_gain(RHO):.4f} with heavy ball,"
        f" {momentum_response.alternating_gain(RHO, RHO):.4f} with Nesterov.",
        "signal_response", "A zig-zag is halved at best (*"),
    48: LectureClaim(
        "Along a slope the velocity keeps building up.", RIGHT,
        f"To {momentum_response.constant_gain(RHO):.0f} times the gradient.",
        "signal_response", "A slope is amplified 1 / (1 - rho) times (*"),
    49: LectureClaim(
        "Momentum averages the noise out.", WRONG,
        f"At one rate the error's floor is {_FLOOR[0]:.1f} times as high, at one lr / (1 - rho) {_FLOOR[1]:.3f}"
        " times; only the path is smoother, 19 times.",
        "noise_floors", "At the same effective rate momentum averages no noise out"),
    50: LectureClaim(
        "The velocity may be larger than the gradient.", RIGHT,
        f"By up to 1 / (1 - rho) = {momentum_response.constant_gain(RHO):.0f}.",
        "signal_response", "Velocity builds up to 90 % in ln 0.1 / ln rho steps, rho = *"),
    51: LectureClaim(
        "The step is a weighted average of velocity and gradient.", WRONG,
        f"Its weights add up to {momentum_response.constant_gain(RHO):.0f}, not to 1.",
        "signal_response", "The velocity is no weighted average: its weights add up to 1 / (1 - rho) at rho = *"),
    52: LectureClaim(
        "Nesterov takes the gradient at the point ahead.", RIGHT,
        f"Its edge is the lower one for that: {stability.nesterov_edge(RHO):.4f} / L, heavy ball's"
        f" {stability.heavy_ball_edge(RHO):.1f} / L.",
        "phase_diagram", "* converges and diverges where the formula says so"),
    53: LectureClaim(
        "Nesterov has good theoretical properties on convex problems.", RIGHT,
        f"It needs {_steps(_NESTEROV):,.0f} steps to 1e-6 at kappa 1e6, descent {_steps(_DESCENT):.1e}, and converges"
        " where tuned heavy ball circles.",
        "transient_growth", "On that function Nesterov's method converges from all of these starts"),
    54: LectureClaim(
        "Off convex problems the guarantees weaken.", RIGHT,
        "Off quadratics they do: tuned heavy ball circles for ever on a smooth strongly convex function of kappa"
        " 25.",
        "transient_growth", "On a smooth strongly convex function heavy ball circles for ever, from *"),
    55: LectureClaim(
        "Start the velocity at zero.", RIGHT,
        "A first velocity only adds a displacement, lr rho v / (1 - rho) ="
        f" {abs(momentum_response.initial_velocity_displacement(0.1, 1.0, RHO)):.1f} at lr = 0.1 and v = 1.",
        "signal_response", "A first velocity of 1 only adds a displacement, rho = *"),
    56: LectureClaim(
        "The velocity is a smooth moving average of recent gradients.", IF,
        f"Up to the factor 1 / (1 - rho): their mean age is {momentum_response.mean_gradient_age(RHO):.0f} steps,"
        f" as many as {momentum_response.effective_number_averaged(RHO):.0f} count.",
        "signal_response", "With v <- rho v + (1 - rho) g it is an average at rho = *"),
    57: LectureClaim(
        "Rewritten, loss and gradient are taken at one point.", IF,
        "At a constant rate the forms are one; after a drop of the rate they part, and the reported point is"
        f" noisier: {_AHEAD:.2f} times at lr lambda = .1.",
        "nesterov_forms", "The * form makes the iterates of the lookahead form, step by step"),
    58: LectureClaim(
        "Nesterov adds a correction, the change of the velocity.", RIGHT,
        "It damps what turns fast: a sharp direction overshoots less.",
        "overshoot", "At rho = * both methods overshoot by the closed form at every learning rate"),
    59: LectureClaim(
        "Momentum overshoots the minimum.", RIGHT,
        f"By {transients.overshoot(0.1, 1.0, RHO):.2f} of the distance at lr lambda = .1, by nothing at .001.",
        "overshoot", "At rho = * both methods overshoot by the closed form at every learning rate"),
    60: LectureClaim(
        "Sharp minima are bad minima.", WRONG,
        f"The same function is as sharp as one likes: {10.0**2 + 10.0**-2:.2f} where one factor is 10 times larger, in"
        " place of 2.",
        "flat_and_sharp", "The same function is as sharp as one likes: a^2 + a^-2"),
    61: LectureClaim(
        "With twice the data the sharp minima would disappear.", IF,
        f"Twice the data cut the excess risk of least squares {_RISK[0] / _RISK[1]:.1f} times; what disappears is"
        f" flat: {least_squares.flattest_share(180, 0.9, 0.1):.0%} of it lies in the flattest tenth of the"
        " directions.",
        "flat_and_sharp", "What overfits lies in the flattest directions"),
    62: LectureClaim(
        "Flat minima may generalize better.", IF,
        "They may: among networks that fit equally well sharpness does not rank the gap, a rank correlation below"
        " .5.",
        "flat_and_sharp", "Sharpness does not rank the gap of networks that fit equally well"),
    63: LectureClaim(
        "Momentum skips sharp minima.", WRONG,
        f"It admits sharper ones: up to {stability.heavy_ball_edge(RHO):.1f} / lr, descent up to"
        f" {stability.gradient_descent_edge():.0f} / lr; Nesterov skips, {stability.nesterov_edge(RHO):.3f} / lr.",
        "sharp_minima_race", "Where descent leaves a sharp minimum, heavy ball stays at the same learning rate"),
    64: LectureClaim(
        "Nesterov does not overshoot as much.", IF,
        f"In sharp directions, {_OVER[0]:.2f} of heavy ball's at lr lambda = .9; in flat ones {_OVER[1]:.2f} at"
        f" .01; beyond {stability.nesterov_edge(RHO):.3f} it diverges.",
        "overshoot", "In a * direction Nesterov overshoots * heavy ball"),
    65: LectureClaim(
        "More powerful rules are to come.", IF,
        "Adam undoes bad conditioning along the axes and only there; its edge is"
        f" {stability.averaged_heavy_ball_edge(RHO):.0f} / lr, and a warm-up takes the sharpness down through one.",
        "adaptive_methods", "and only there"),
    66: LectureClaim(
        "Regularization closes the gap between training and test.", IF,
        "For least squares its kinds are one: stopping at time t is ridge of 1 / t, with at most"
        f" {regularization.largest_variance_ratio():.4f} times the variance. On digits L2 takes the gap to .95 or less,"
        " dropout less far, batch normalization hardly.",
        "regularization", "and at most 1.6859 times its variance"),
    67: LectureClaim(
        "With transfer less data are needed than one thinks.", IF,
        "Where the tasks are near: the excess risk is |w* - w0|^2 (1 - n / d) and noise,"
        f" {least_squares.interpolation_risk(600, 200, 1.0, 0.25):.3f} from afar,"
        f" {least_squares.interpolation_risk(600, 200, 0.1, 0.25):.3f} from a tenth of that; a convolutional network"
        " that knows eight digits learns the other two from hardly fewer examples.",
        "transfer", "Gradient descent errs by its distance from the start"),
}
# fmt: on
