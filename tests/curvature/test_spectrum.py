import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab import curvature, problems, training
from jaxopt_lab.cli import main
from jaxopt_lab.curvature.spectrum_figure import draw_spectrum
from jaxopt_lab.reporting.figures import house_style

WORDS = ["--largest", "2", "--smallest", "1", "--probes", "2", "--steps", "10", "--max-products", "40", "--no-layers"]
SMALL = ["--set", "width=4", "--set", "depth=1", "--set", "activation=tanh", "--set", "num_examples=100"]


def test_a_known_spectrum_is_told_with_its_errors():
    curvatures = jnp.concatenate([jnp.full(30, 1.0), jnp.full(10, 4.0), jnp.array([-2.0])])
    problem = lab.from_loss(lambda w, batch, key: 0.5 * jnp.sum(curvatures * w**2), jnp.ones(41))
    spectrum = curvature.measure_spectrum(problem, jnp.ones(41), num_largest=1, num_smallest=1)
    text = str(spectrum)
    assert spectrum.ends.largest.values[0] == pytest.approx(4.0, rel=1e-5)
    assert spectrum.condition.absolute.value == pytest.approx(4.0, rel=1e-4)
    low, high = spectrum.trace.interval
    assert low <= 30 + 40 - 2 <= high
    low, high = spectrum.index.negative.interval
    assert low <= 1 / 41 <= high
    assert "smallest eigenvalues  -2" in text
    assert spectrum.noise is None
    with house_style() as maker:
        assert len(draw_spectrum(spectrum, maker).axes) == 2
    assert spectrum.plot().axes[0].get_xlabel() == "|eigenvalue|"
    assert "Hessian of" in spectrum._repr_html_()


def test_the_verb_prints_the_summary_and_leaves_files(tmp_path, capsys):
    assert main(["spectrum", "digits-mlp", *SMALL, *WORDS, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "largest eigenvalues" in printed.out
    assert "condition number" in printed.out
    assert "Density" in printed.err
    folder = tmp_path / "spectrum-digits-mlp"
    assert {"spectrum.json", "spectrum.svg", "spectrum.png"} <= {path.name for path in folder.iterdir()}
    record = json.loads((folder / "spectrum.json").read_text())
    assert len(record["largest"]["values"]) == 2
    page = (folder / "spectrum.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 2
    assert "condition number" in page
    assert not re.search(r"""(src|href)=["'](?!#|data:)|https?:""", page)
    density = json.loads((folder / "spectrum.json").read_text())["density"]
    assert len(density["grid"]) == len(density["positive"]) == len(density["negative"])


def test_the_verb_reads_parameters_from_a_file(tmp_path, capsys):
    problem = problems.load_problem("digits-mlp", width=4, depth=1, activation="tanh", num_examples=100)
    params = jax.tree.map(lambda leaf: 0.5 * leaf, problem.init(jax.random.key(7)))
    training.save_params(tmp_path / "params.npz", params)
    words = ["--checkpoint", str(tmp_path / "params.npz"), "--out", str(tmp_path)]
    assert main(["spectrum", "digits-mlp", *SMALL, *WORDS, *words]) == 0
    record = json.loads((tmp_path / "spectrum-digits-mlp" / "spectrum.json").read_text())
    np.testing.assert_allclose(record["loss"], problem.full_loss(params), rtol=1e-6)  # a float32 mean of 100


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits-mpl"], "Did you mean 'digits-mlp'"),
        (["digits-mlp", "--set", "width"], "an option must be NAME=VALUE, got 'width'"),
        (["digits-mlp", "--set", "widht=3"], "Did you mean 'width'"),
        (["digits-mlp", "--operator", "hesian"], "Did you mean 'hessian'"),
        (["digits-mlp", "--checkpoint", "nowhere.npz"], "cannot be read as the parameters of this network"),
        (["digits-mlp", "--probes", "1"], "--probes must be a whole number of at least 2"),
        (["digits-mlp", "--train", "-1"], "--train must be a whole number of at least 0"),
        (["digits-mlp", "--largest", "0"], "num_largest must be a whole number of at least 1"),
    ],
)
def test_wrong_words_end_with_code_2_and_a_sentence(words, message, tmp_path, capsys):
    assert main(["spectrum", *words, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
