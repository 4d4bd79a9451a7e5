import json
import re

import pytest

from jaxopt_lab.cli import main

MINE = """
import jax.numpy as jnp
import optax
import jaxopt_lab as lab

def narrow():
    return lab.objectives.quadratic(lab.objectives.spectra.log_uniform(200, kappa=1e4), start=1.0)

def clipped(learning_rate):
    return optax.chain(optax.clip(10.0), optax.sgd(learning_rate))
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_says_verdict_evidence_prescription_and_proof(module, capsys):
    assert (
        main(["diagnose", "mine:narrow", "--learning-rate", "0.01", "--steps", "40", "--prove", "--proofs", "2"]) == 0
    )
    printed = capsys.readouterr().out
    places = [printed.index(word) for word in ("Verdict: learning-rate", "Evidence", "Prescription", "Proof")]
    assert places == sorted(places)
    (gain,) = re.findall(r"Verdict: learning-rate-too-low \((proven: [\d.,]+ times fewer steps)\)", printed)
    assert printed.count(gain) == 2  # in the verdict and the proof
    (folder,) = (module / "results").iterdir()
    page = (folder / "diagnosis.html").read_text()
    assert "<svg" in page
    assert f"Verdict: learning-rate-too-low ({gain})" in page


def test_json_is_printed_alone(capsys):
    assert main(["diagnose", "mine:narrow", "--rule", "mine:clipped", "--learning-rate", "0.01", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["causes"][0] == "learning-rate-too-low"
    assert record["findings"][0]["evidence"][0]["threshold"] == 0.2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rule", "adamm"], "Did you mean 'adam'?"),
        (["--learning-rate", "-1"], "learning_rate must be positive"),
        (["--rule-set", "foo=1"], "does not take these options"),
        (["--budget", "3"], "too small for anything"),
        (["--rule", "nowhere:rule"], "there is no module 'nowhere'"),
    ],
)
def test_wrong_words_end_with_2_and_a_remedy(words, message, capsys):
    assert main(["diagnose", "mine:narrow", *words]) == 2
    assert message in capsys.readouterr().err
