import dataclasses
import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab import curvature, problems, training
from jaxopt_lab.cli import main
from jaxopt_lab.curvature.journals import Progress
from jaxopt_lab.curvature.noise import NoiseScale
from jaxopt_lab.curvature.spectrum import _Forecast, _scale
from jaxopt_lab.curvature.spectrum_figure import draw_spectrum, draws_of
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


@pytest.fixture(scope="module")
def layered():
    """Two layers: four curvatures of 4, and ten of 1 with a trace of 10."""
    loss = lambda w, batch, key: 2 * jnp.sum(w["first"] ** 2) + 0.5 * jnp.sum(w["second"] ** 2)  # noqa: E731
    params = {"first": jnp.ones(4), "second": jnp.ones(10)}
    few = {"num_largest": 1, "num_smallest": 1, "num_probes": 2, "num_steps": 3}
    return curvature.measure_spectrum(lab.from_loss(loss, params), params, **few)


def test_each_layers_own_block_is_told(layered):
    *_, head, first, second, apart, _ = str(layered).splitlines()
    assert head.split() == ["layer", "parameters", "largest", "trace", "mean"]
    assert first.split() == ["first", "4", "4", "16", "4"]
    assert second.split() == ["second", "10", "1", "10", "1"]
    assert len({len(line) for line in (head, first, second)}) == 1
    low, high = layered.blocks.heterogeneity.interval
    value = layered.blocks.heterogeneity.value
    assert apart == f"heterogeneity of the layers {value:.2f} in [{low:.2f}, {high:.2f}] (0 alike, 1 apart)"
    first, second = layered.to_json()["blocks"]
    assert (first["name"], first["size"], second["name"], second["size"]) == ("first", 4, "second", 10)
    found = [each[name] for each in (first, second) for name in ("largest", "trace")]
    assert found == pytest.approx([4.0, 16.0, 1.0, 10.0], rel=1e-4)


def test_each_layers_largest_and_mean_eigenvalue_is_drawn(layered):
    with house_style() as maker:
        _, _, axes = draw_spectrum(layered, maker).axes
        names = [label.get_text() for label in axes.get_yticklabels()]
    largest, means = (line.get_xdata() for line in axes.lines)
    np.testing.assert_allclose(largest, [4.0, 1.0], rtol=1e-4)
    np.testing.assert_allclose(means, [4.0, 1.0], rtol=1e-4)
    assert names == ["first", "second"]
    assert axes.get_ylim() == (1.5, -0.9)  # the first above, with room for the words
    *_, layers = draws_of(layered)
    with house_style() as maker:
        told = layers(maker)[1]
    apart = layered.blocks.heterogeneity.value
    assert told == f"The layers' curvatures differ by {apart:.2f}, where 0 is alike and 1 apart."


def test_an_end_of_which_nothing_was_asked_is_not_drawn(layered):
    largest = layered.condition.ends.largest
    none = dataclasses.replace(largest, values=largest.values[:0], errors=largest.errors[:0])
    condition = dataclasses.replace(
        layered.condition, ends=dataclasses.replace(layered.condition.ends, smallest=none)
    )  # fmt: skip
    with house_style() as maker:
        axes = draw_spectrum(dataclasses.replace(layered, condition=condition), maker).axes[1]
    assert [text.get_text() for text in axes.texts] == ["largest"]


@pytest.mark.parametrize(
    ("high", "told"),
    [(8.0, "4 examples in [2, 8]"), (math.inf, "at least 2 examples (the gradient is too small to tell)")],
)
def test_a_noise_scale_that_cannot_be_told_is_a_bound(high, told):
    one = lab.Estimate(4.0, interval=(2.0, high))
    assert _scale(NoiseScale(one, None, one, one, 100, 4)) == told


def test_a_long_search_says_every_five_seconds_how_far_it_is():
    said = []
    forecast = _Forecast(said.append)
    for seconds, left in ((4.9, 9.0), (5.0, 9.0), (9.9, 4.0), (10.1, None)):
        forecast(Progress(int(10 * seconds), None, 1.0, seconds, left))
    assert said == ["  50 products in 5 s, about 9 s more", "  101 products in 10 s"]


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
