import hashlib
import itertools

import numpy as np
import pytest

from jaxopt_lab import datasets
from jaxopt_lab.core import InputError


def test_windows_spell_the_text_and_the_parts_do_not_overlap(tmp_path):
    text = "".join(chr(97 + k % 7) for k in range(100))
    (tmp_path / "text").write_text(text)
    windows = datasets.load_text(tmp_path / "text", length=9, fraction=0.5)
    assert windows.training.shape == (5, 10)
    spelled = ["".join(windows.vocabulary[token] for token in row) for row in windows.training]
    assert "".join(row[:-1] for row in spelled) == text[:45]
    assert all(row[-1] == later[0] for row, later in itertools.pairwise(spelled))
    assert windows.validation[0, 0] == windows.vocabulary.index(text[50])
    assert windows.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_pythons_own_topics_are_a_long_text_and_the_digest_says_which():
    windows = datasets.load_text(length=100)
    assert windows.training.size > 300_000
    assert windows.training.max() < len(windows.vocabulary)
    assert windows.sha256 == datasets.load_text(length=100).sha256


def test_the_empirical_conditional_entropy_of_a_long_run_is_the_entropy_rate():
    windows = datasets.markov_text(20_000, vocabulary=8, length=20, seed=4)
    counts = np.zeros((8, 8))
    np.add.at(counts, (windows.training[:, :-1], windows.training[:, 1:]), 1)
    num = counts.sum()
    joint = counts / num
    logarithms = np.log(joint / joint.sum(1, keepdims=True))
    measured = -np.sum(joint * logarithms)
    error = np.sqrt(np.sum(joint * (logarithms + measured) ** 2) / num)
    bias = 7 * 8 / (2 * num)  # of the plug-in estimate, Miller 1955
    assert measured + bias == pytest.approx(windows.entropy_rate, abs=5 * error)
    assert error < 0.002


def test_words_follow_zipfs_law_at_every_position():
    windows = datasets.markov_text(40_000, vocabulary=6, length=4, exponent=1.0)
    expected = 1 / np.arange(1, 7) / np.sum(1 / np.arange(1, 7))
    for place in range(5):
        shares = np.bincount(windows.training[:, place], minlength=6) / 40_000
        np.testing.assert_allclose(shares, expected, atol=5 * 0.5 / 200)  # 5 standard errors of a share


def test_independent_words_have_the_entropy_of_their_law():
    law = 1 / np.arange(1, 11) / np.sum(1 / np.arange(1, 11))
    rate = datasets.markov_text(1, vocabulary=10, sharpness=0.0).entropy_rate
    assert rate == pytest.approx(-np.sum(law * np.log(law)), rel=1e-12)  # float64 sums


def test_a_sharper_chain_is_more_certain():
    rates = [datasets.markov_text(1, sharpness=value).entropy_rate for value in (0.0, 1.0, 3.0)]
    assert rates[0] > rates[1] > rates[2] > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: datasets.load_text(length=10**6),
            r"a part of the text has \d+ characters, and a window needs 1000001. Take",
        ),
        (lambda: datasets.load_text("/nowhere"), r"load_text: /nowhere cannot be read as text"),
        (lambda: datasets.load_text(fraction=1.0), r"load_text: fraction must be in \(0, 1\), got 1.0"),
        (
            lambda: datasets.markov_text(vocabulary=1),
            r"markov_text: vocabulary must be a whole number of at least 2, got 1",
        ),
        (lambda: datasets.markov_text(sharpness=-1), r"markov_text: sharpness must be in \[0, 10\], got -1"),
    ],
)
def test_text_that_cannot_be_cut_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
