import html
import json
import math
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest

from jaxopt_lab import theory
from jaxopt_lab.core import InputError
from jaxopt_lab.reporting import page as page_module
from jaxopt_lab.reporting import sliders
from jaxopt_lab.reporting.page import StudyResult, page_body, render_page

TEMPLATES = pathlib.Path(page_module.__file__).parent / "templates"
NODE, CHROMIUM = shutil.which("node"), shutil.which("chromium") or shutil.which("chromium-browser")
RHOS = (0.0, 0.3, 0.5, 0.9, 0.99, 0.999)
SPECTRUM = np.geomspace(1e-3, 1, 32)
CLOSE = 1e-12  # the same formula in the same precision, in another order
LOG1P = 1e-9  # where the root is near 0 it comes from 1 - (1 - root)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def dom_of(page, folder):
    """The page as text after its scripts have run."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    words = [
        CHROMIUM,
        *options.split(),
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={folder / 'u'}",
    ]
    done = subprocess.run(
        [*words, "--dump-dom", (folder / "page.html").as_uri()], capture_output=True, check=True, timeout=120
    )
    return html.unescape(done.stdout.decode())


@pytest.fixture
def evaluated(tmp_path):
    """Evaluates JavaScript expressions beside the closed forms and the slider, in node or else in Chromium."""
    if NODE is None and CHROMIUM is None:
        pytest.skip("neither node nor chromium is installed")

    def evaluate(*expressions):
        program = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("closed_forms.js", "slider.js"))
        asked = f"[{','.join(expressions)}].map(String)"
        if NODE is not None:
            stub = "const document = { querySelectorAll: () => [] };\n"
            told = subprocess.run(
                [NODE, "-"], input=f"{stub}{program}\nconsole.log(JSON.stringify({asked}))", capture_output=True,
                check=True, text=True, encoding="utf-8", timeout=120,
            ).stdout  # fmt: skip
        else:
            shown = dom_of(
                f"<pre></pre><script>{program};document.body.textContent=JSON.stringify({asked})</script>", tmp_path
            )
            told = re.search(r"<body>(.*)</body>", shown)[1]
        return json.loads(told)

    return evaluate


def numbers(evaluated, name, cases):
    texts = evaluated(*(f"{name}({', '.join(json.dumps(value) for value in case)})" for case in cases))
    return np.array([float(text) for text in texts])


@pytest.mark.parametrize("nesterov", [False, True])
def test_decay_rate_is_that_of_the_theory_also_beyond_the_edge(evaluated, nesterov):
    cases = [(h, rho, nesterov * rho) for h in (1e-12, 1e-3, 0.3, 0.99, 1.9, 2.5, 4.1) for rho in RHOS]
    exact = [theory.modes.decay_rate(h, 1.0, rho, ahead) for h, rho, ahead in cases]
    np.testing.assert_allclose(numbers(evaluated, "decay_rate", cases), exact, rtol=LOG1P)
    assert min(exact) < 0 < max(exact)


def test_edges_and_gains_are_those_of_the_theory(evaluated):
    cases = [(rho, ahead) for rho in RHOS for ahead in (0.0, rho)]
    exact = [theory.stability.two_step_edge(*case) for case in cases]
    np.testing.assert_allclose(numbers(evaluated, "two_step_edge", cases), exact, rtol=CLOSE)
    cases = [(w, *case) for w in (0.0, 0.1, 1.5, math.pi) for case in cases]
    exact = [theory.momentum_response.transfer_gain(*case) for case in cases]
    np.testing.assert_allclose(numbers(evaluated, "transfer_gain", cases), exact, rtol=CLOSE)


def test_noise_floors_are_those_of_the_theory_and_infinite_from_the_edge_on(evaluated):
    cases = [
        (h, 0.3, rho, ahead) for h in (1e-4, 0.1, 1.3, 1.999, 2.0, 3.9, 5.0) for rho in RHOS for ahead in (0.0, rho)
    ]
    exact = [theory.noise_floors.stationary_variance(h, 1.0, noise, *rest) for h, noise, *rest in cases]
    assert np.isinf(exact).any()
    # A thousandth before the edge the room to it has lost three digits.
    np.testing.assert_allclose(numbers(evaluated, "stationary_variance", cases), exact, rtol=1e-11)


def test_the_edge_in_minibatches_is_that_of_the_theory(evaluated):
    spectrum = SPECTRUM.tolist()
    cases = [(rate, spectrum, batch, rho) for rate in (1e-3, 0.1, 1.0, 5.0) for batch in (1, 64, 8192) for rho in RHOS]
    exact = [theory.minibatch.noise_feedback(*case) for case in cases]
    assert np.isinf(exact).any()
    np.testing.assert_allclose(numbers(evaluated, "noise_feedback", cases), exact, rtol=1e-9)  # near F's poles
    cases = [(spectrum, batch, rho) for batch in (1, 64, 8192) for rho in RHOS]
    exact = [theory.minibatch.mean_square_edge(*case) for case in cases]
    np.testing.assert_allclose(
        numbers(evaluated, "mean_square_edge", cases), exact, rtol=1e-9
    )  # bisected from 2 (1 + rho)


def test_steps_at_one_rho_are_those_of_descent_and_of_the_best_momentum_where_that_is_theirs(evaluated):
    kappas = np.array([2.0, 10.0, 1e3, 1e6])
    descent = theory.rates.optimal_gradient_descent(1.0, 1 / kappas)
    cases = [(kappa, 0.0, 1e-6) for kappa in kappas]
    np.testing.assert_allclose(numbers(evaluated, "heavy_ball_steps", cases), descent.steps_to(1e-6), rtol=LOG1P)
    best = theory.rates.optimal_heavy_ball(1.0, 1 / kappas)
    cases = list(zip(kappas, best.rho.tolist(), [1e-6] * 4, strict=True))
    # A double root: a rounding of 1e-16 under the square root is 1e-8 of 1 - root, which is 2e-3 at the largest kappa.
    np.testing.assert_allclose(numbers(evaluated, "heavy_ball_steps", cases), best.steps_to(1e-6), rtol=1e-4)
    np.testing.assert_allclose(
        numbers(evaluated, "best_kappa", [(rho,) for rho in best.rho.tolist()]), kappas, rtol=1e-9
    )
    # Elsewhere both ends of the spectrum decay alike, at the rate that `heavy_ball_steps` takes.
    for rho in RHOS:
        rate = 2 * (1 + rho) / (1 + 1e-2)
        exact = [-math.log(1e-6) / theory.modes.decay_rate(rate, eigenvalue, rho) for eigenvalue in (1.0, 1e-2)]
        steps = numbers(evaluated, "heavy_ball_steps", [(100.0, rho, 1e-6)] * 2)
        np.testing.assert_allclose(steps, exact, rtol=1e-9)


def test_the_slider_ends_before_the_closed_forms_do(evaluated):
    (last,) = map(float, evaluated("LAST"))
    assert theory.modes.decay_rate(1.0, 1.0, last) > 0
    with pytest.raises(InputError, match="rho"):
        theory.modes.decay_rate(1.0, 1.0, 1.0)


def test_every_closed_form_has_its_curves_and_says_where_they_end(evaluated):
    (names,) = evaluated("Object.keys(CURVES).join()")
    assert tuple(names.split(",")) == sliders.CLOSED_FORMS
    told = evaluated("CURVES.factor_per_step(0.9).told", "CURVES.stationary_variance(0.9, {noise: 1}).told")
    assert told == [
        "Heavy ball diverges from 3.8 on, Nesterov from 1.36.",
        "No floor from the edge on: SGD 2, heavy ball 38, Nesterov 13.6.",
    ]
    at = "CURVES.factor_per_step(0.9).curves[0][2]"
    within, below, above = map(float, evaluated(f"{at}(3)", f"{at}(3.799)", f"{at}(3.801)"))
    assert within == pytest.approx(math.sqrt(0.9))
    assert within < below < 1
    assert math.isnan(above)


def slider():
    return sliders.slider(
        "factor_per_step", x=sliders.axis("learning rate", 0, 4.2), y=sliders.axis("factor", 0, 1),
        dots=[sliders.dots("measured </script>", [1.0, 2.0, np.nan, 3.0], [0.123456789, np.inf, 0.5, 7.0], rho=0.5)],
    )  # fmt: skip


def page(**more):
    record = {
        "study": "s", "status": "done", "preset": "", "command": "c", "config": {}, "question": "Q?", "belief": "",
        "truth": "T.", "reference": "R", "caption": "C.", "facts": {}, "dtype": "float64", "versions": {},
        "device": {"kind": "cpu", "count": 1, "processors": 2}, "prng": "p", "wall_seconds": 1.0, "cpu_seconds": 1.0,
    }  # fmt: skip
    return render_page([StudyResult("s-1", record | more, [], '<svg xmlns="http://www.w3.org/2000/svg"/>')])


def test_dots_that_are_not_finite_or_outside_of_the_chart_are_left_out():
    (only,) = slider()["dots"]
    assert (only["x"], only["y"]) == ([1.0], [0.12346])


def test_of_very_many_dots_some_are_kept():
    many = np.linspace(0, 1, 7000)
    chart = {"x": sliders.axis("x", 0, 1), "y": sliders.axis("y", 0, 1)}
    made = sliders.slider("factor_per_step", **chart, dots=2 * [sliders.dots("many", many, many)])
    assert [len(each["x"]) for each in made["dots"]] == 2 * [2334]
    assert made["dots"][0]["x"][:2] == [0.0, 0.00042863]


def test_without_scripts_the_page_shows_the_figure_as_before():
    moving, still = page(slider=slider()), page()
    assert '<div class="slider" hidden>' in moving
    assert "<script" not in still
    without = re.sub(r'(?s)<div class="slider" hidden>.*?</div>\n|<script>.*?</script>', "", moving)
    assert without.replace("<div>\n<dl", "<dl").replace("</dl>\n</div>", "</dl>").split() == still.split()


def test_nothing_comes_from_elsewhere_and_a_strangers_name_stays_text():
    moving = page(slider=slider())
    assert not re.search(r"src=|@import|<link|fetch|import\(", moving)
    assert set(re.findall(r"https?://[^\"']*", moving)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert moving.count("</script>") == 2


@pytest.mark.parametrize(
    "wrong", [{}, [], {"closed_form": "alert"}, {"x": {}}, {"y": sliders.axis("y", 1, 0)}, {"dots": [{}]},
              {"x": sliders.axis("x", 0, 1, log=True)}, {"constants": {"a": "b"}}, {"dots": None}],
)  # fmt: skip
def test_a_damaged_slider_is_refused(wrong):
    found = slider() | wrong if isinstance(wrong, dict) and wrong else wrong
    with pytest.raises(ValueError, match="its slider cannot be drawn"):
        sliders.require_slider(found)


@needs_browser
def test_the_slider_stops_where_the_closed_form_ends_and_says_so(tmp_path):
    push = "<script>{const i=document.querySelector('.slider input');i.value=99;i.dispatchEvent(new Event('input'))}</script>"
    shown = dom_of(page(slider=slider()).replace("</body>", f"{push}</body>"), tmp_path)
    assert '<div class="slider">' in shown  # no longer hidden
    assert "rho = 0.999. Heavy ball diverges from 4 on" in shown
    assert "The slider ends at 0.999: at rho = 1 the velocity never forgets, and the closed form ends." in shown
    assert shown.count("<circle") == 1
    assert "measured </script>: 1, 0.123" in shown


def test_in_a_notebook_the_page_keeps_its_slider():
    assert '<div class="slider" hidden>' in page_body(page(slider=slider()))
