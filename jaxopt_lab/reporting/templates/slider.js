// A slider for the momentum rho: the closed form moves over the measured dots. Without scripts the page shows its figures alone.
const LAST = 0.999; // at rho = 1 the velocity never forgets, and no closed form holds
const shown = value => Number(value.toPrecision(3)).toLocaleString("en-US", { maximumSignificantDigits: 3 });

// closed form -> its curves [name, colour, x => y] at a rho, and what to tell of them.
const CURVES = {
  heavy_ball_steps: (rho, { accuracy }) => ({
    curves: [["heavy ball at this rho", 1, kappa => heavy_ball_steps(kappa, rho, accuracy)]],
    told: rho > 0 ? `The best rho at a condition number of ${shown(best_kappa(rho))}.` : "At rho = 0 this is gradient descent.",
  }),
  factor_per_step: rho => ({
    curves: [["heavy ball", 0, h => h < two_step_edge(rho) ? Math.exp(-decay_rate(h, rho)) : NaN],
      ["Nesterov", 1, h => h < two_step_edge(rho, rho) ? Math.exp(-decay_rate(h, rho, rho)) : NaN]],
    told: `Heavy ball diverges from ${shown(two_step_edge(rho))} on, Nesterov from ${shown(two_step_edge(rho, rho))}.`,
  }),
  transfer_gain: rho => ({
    curves: [["heavy ball", 0, x => transfer_gain(Math.PI * x, rho)], ["Nesterov", 1, x => transfer_gain(Math.PI * x, rho, rho)]],
    told: `A slope: ${shown(transfer_gain(0, rho))} times. A zig-zag: ${shown(transfer_gain(Math.PI, rho))} times, with Nesterov ${shown(transfer_gain(Math.PI, rho, rho))}.`,
  }),
  stationary_variance: (rho, { noise }) => ({
    curves: [["SGD", 0, x => stationary_variance(x, noise, 0)], ["heavy ball", 1, x => stationary_variance(x * (1 - rho), noise, rho)],
      ["Nesterov", 2, x => stationary_variance(x * (1 - rho), noise, rho, rho)]],
    told: `No floor from the edge on: SGD 2, heavy ball ${shown(two_step_edge(rho) / (1 - rho))}, Nesterov ${shown(two_step_edge(rho, rho) / (1 - rho))}.`,
  }),
  mean_square_edge: (rho, { eigenvalues }) => ({
    curves: [["edge at this rho", 1, batch => mean_square_edge(eigenvalues, batch, rho) / (1 - rho)]],
    told: `In a large batch the edge is ${shown(two_step_edge(rho) / (1 - rho))}, in a small one that of SGD.`,
  }),
};

const WIDTH = 360, HEIGHT = 290, LEFT = 50, RIGHT = 12, TOP = 10, BOTTOM = 42;
const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

function draw(name, attributes, parent, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return parent.appendChild(element);
}

// value -> pixel of an axis, its inverse by share, and its ticks.
function scale({ low, high, log }, from, to) {
  const f = log ? Math.log10 : Number, back = log ? u => 10 ** u : Number, a = f(low), b = f(high);
  const step = log ? Math.ceil((b - a) / 6) : [.1, .2, .5, 1, 2].find(step => (b - a) / step <= 6);
  const ticks = [];
  for (let k = Math.ceil(a / step - 1e-9); k * step <= b + 1e-9; k++) ticks.push(back(k * step));
  return { at: value => from + (to - from) * (f(value) - a) / (b - a), share: u => back(a + u * (b - a)), ticks };
}

function written(value, { log }) {
  const power = Math.round(Math.log10(value));
  return !log || power === 0 ? shown(value) : "10" + String(power).replace(/./g, sign => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]);
}

function start(holder) {
  const { closed_form, x, y, dots, constants } = JSON.parse(holder.querySelector("script").textContent);
  const svg = holder.querySelector("svg"), input = holder.querySelector("input"), output = holder.querySelector("output");
  const across = scale(x, LEFT, WIDTH - RIGHT), up = scale(y, HEIGHT - BOTTOM, TOP);
  for (const value of across.ticks) {
    draw("path", { d: `M${across.at(value)} ${TOP}V${HEIGHT - BOTTOM}`, class: "grid" }, svg);
    draw("text", { x: across.at(value), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, svg, written(value, x));
  }
  for (const value of up.ticks) {
    draw("path", { d: `M${LEFT} ${up.at(value)}H${WIDTH - RIGHT}`, class: "grid" }, svg);
    draw("text", { x: LEFT - 6, y: up.at(value) + 4, "text-anchor": "end" }, svg, written(value, y));
  }
  draw("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, svg, x.label);
  const groups = dots.map(({ name, rho, color, x, y }) => {
    const group = draw("g", { fill: COLORS[color] }, svg);
    x.forEach((value, k) => draw("title", {}, draw("circle", { cx: across.at(value), cy: up.at(y[k]), r: 3 }, group), `${name}: ${shown(value)}, ${shown(y[k])}`));
    return { rho, group };
  });
  const far = rho => -Math.log10(1 - rho), measured = dots.map(({ rho }) => rho).filter(rho => rho !== null);
  const lines = CURVES[closed_form](0, constants).curves.map(([, color]) => draw("path", { stroke: COLORS[color], class: "curve" }, svg));

  const name = (text, color, kind) => {
    const entry = holder.querySelector(".key").appendChild(document.createElement("span"));
    entry.textContent = text;
    entry.className = kind;
    entry.style.setProperty("--of", COLORS[color]);
  };
  for (const [text, color] of CURVES[closed_form](0, constants).curves) name(text, color, "line");
  for (const [text, color] of new Map(dots.map(({ name, color }) => [name, color]))) name(text, color, "dot");

  function show() {
    const nearest = measured.reduce((best, rho) => Math.abs(far(rho) - input.value) < Math.abs(far(best) - input.value) ? rho : best, measured[0]);
    const near = nearest !== undefined && Math.abs(far(nearest) - input.value) < 0.03; // the slider holds at what was measured
    const end = Number(input.value) >= Number(input.max), rho = near ? nearest : end ? LAST : 1 - 10 ** -input.value;
    const { curves, told } = CURVES[closed_form](rho, constants);
    curves.forEach(([, , curve], k) => {
      let d = "", pen = "M";
      for (let place = 0; place <= 240; place++) {
        const value = across.share(place / 240), height = curve(value), inside = height >= y.low && height <= y.high;
        if (inside) d += `${pen}${across.at(value).toFixed(1)} ${up.at(height).toFixed(1)}`;
        pen = inside ? "L" : "M";
      }
      lines[k].setAttribute("d", d);
    });
    for (const { rho: own, group } of groups) group.setAttribute("opacity", own === null || own === nearest ? 1 : .15);
    const off = nearest === undefined || near ? "" : ` The coloured dots are those of rho = ${shown(nearest)}.`;
    const stop = end ? ` The slider ends at ${LAST}: at rho = 1 the velocity never forgets, and the closed form ends.` : "";
    input.setAttribute("aria-valuetext", `rho ${rho.toFixed(3)}`);
    output.textContent = `rho = ${rho.toFixed(3)}. ${told}${off}${stop}`;
  }
  input.max = far(LAST);
  input.addEventListener("input", show);
  holder.hidden = false;
  show();
}

document.querySelectorAll(".slider").forEach(start);
