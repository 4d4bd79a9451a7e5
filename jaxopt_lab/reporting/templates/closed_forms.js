// Closed forms of jaxopt_lab.theory, under the names that they have there; a test runs both side by side.
// h is learning rate x eigenvalue; the lookahead is 0 for heavy ball and rho for Nesterov.

// theory.modes.decay_rate: -ln of the larger root, without cancellation. Negative where the mode diverges.
function decay_rate(h, rho, lookahead = 0) {
  const T = 1 + rho - h * (1 + lookahead);
  const s2 = (1 - rho) ** 2 - 2 * h * (1 + rho - lookahead * (1 - rho)) + (h * (1 + lookahead)) ** 2;
  if (s2 < 0) return -0.5 * Math.log1p(-(1 - rho + h * lookahead));
  const room = T >= 0 ? 1 - rho + h * (1 + lookahead) : 2 + T, s = Math.sqrt(s2);
  const product = T >= 0 ? h : 2 * (1 + rho) - h * (1 + 2 * lookahead);
  return -Math.log1p(-(room >= 0 ? 2 * product / (room + s) : (room - s) / 2));
}

// theory.stability.two_step_edge: the h from which on a run diverges.
const two_step_edge = (rho, lookahead = 0) => 2 * (1 + rho) / (1 + 2 * lookahead);

// Steps of heavy ball at rho and the best learning rate for it, 2 (1 + rho) / (L + mu): both ends of the spectrum decay alike.
const heavy_ball_steps = (kappa, rho, accuracy) => -Math.log(accuracy) / decay_rate(2 * (1 + rho) / (kappa + 1), rho);

// theory.rates.optimal_heavy_ball, solved for the condition number at which this rho is the best.
const best_kappa = rho => ((1 + Math.sqrt(rho)) / (1 - Math.sqrt(rho))) ** 2;

// theory.momentum_response.transfer_gain: step over plain SGD's, at w radians a step.
function transfer_gain(w, rho, lookahead = 0) {
  const chord = 4 * Math.sin(w / 2) ** 2;
  return Math.sqrt((1 + lookahead * (1 + lookahead) * chord) / ((1 - rho) ** 2 + rho * chord));
}

// theory.noise_floors.stationary_variance at eigenvalue 1; infinite from the edge on.
function stationary_variance(h, noise, rho, lookahead = 0) {
  const room = 2 * (1 + rho) - h * (1 + 2 * lookahead), D = rho - h * lookahead;
  return room > 0 && D < 1 ? h * noise * (1 + D) / ((1 - D) * room) : Infinity;
}

// theory.minibatch.noise_feedback of heavy ball; infinite where one mode is unstable by itself.
function noise_feedback(rate, eigenvalues, batch, rho) {
  let sum = 0;
  for (const eigenvalue of eigenvalues) {
    const h = rate * eigenvalue, room = 2 * (1 + rho) - h, left = (1 - rho) * room / (1 + rho) - h / batch;
    if (room <= 0 || left <= 0) return Infinity;
    sum += h / batch / left;
  }
  return sum;
}

// theory.minibatch.mean_square_edge: the learning rate at which the feedback is 1, by bisection.
function mean_square_edge(eigenvalues, batch, rho) {
  let low = 0, high = 2 * (1 + rho) / Math.max(...eigenvalues);
  for (let k = 0; k < 60; k++) {
    const middle = (low + high) / 2;
    if (noise_feedback(middle, eigenvalues, batch, rho) >= 1) high = middle; else low = middle;
  }
  return low;
}
