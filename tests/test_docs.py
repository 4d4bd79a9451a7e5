"""The site: every page is in its table of contents, docstrings stand in it as they are, and it is made without a warning."""

import importlib.util
import pathlib
import re
import subprocess
import sys

import pytest

CAPTIONS = "My network trains badly I test a belief I write a rule Reference"
DOCS = pathlib.Path(__file__).parents[1] / "docs"


def load(name):
    spec = importlib.util.spec_from_file_location(f"site_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def escaped(text):
    lines = text.splitlines()
    load("docstrings").as_plain_text(None, "function", "f", None, None, lines)
    return lines


def test_every_page_is_in_the_table_of_contents():
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = {line for block in re.findall(r"```{toctree}\n(.*?)```", text, flags=re.DOTALL) for line in block.split()}
    pages = {path.stem for path in DOCS.glob("*.md")} - {"index"}
    assert pages - listed == set()
    assert {name for name in listed if not name.startswith((":", "generated/"))} - pages <= set(CAPTIONS.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The norm |x_k| of x_ is a * b.", ["The norm \\|x_k\\| of x\\_ is a \\* b."]),
        ("Code `a|b*` and `Partial`s.", ["Code `a|b*` and `Partial`\\ s."]),
        ("Code `that goes\non` here.", ["Code `that goes on` here."]),
        ("Args:\n  **options: a * b.", ["Args:", "  **options: a \\* b."]),
        ("Text:\n\n    x <- |a| b\n\nMore.", ["Text:", "", "", "::", "", "    x <- |a| b", "", "", "More."]),
        ("Example:\n  >>> a * b\n  |c|\n\nMore |c|.", ["Example:", "  >>> a * b", "  |c|", "", "More \\|c\\|."]),
    ],
)
def test_docstrings_are_plain_text(text, expected):
    assert escaped(text) == expected


def test_examples_become_pages_of_text_and_code():
    pages = load("generate")._examples()
    assert pages["practitioner"].startswith("# A network that trains badly")
    assert pages["practitioner"].count("\n```python\n") >= 4
    assert pages["practitioner"].count("```") == 2 * pages["practitioner"].count("```python")
    assert "# %%" not in pages["practitioner"]


@pytest.mark.slow
def test_the_site_is_made_without_a_warning(tmp_path):
    pytest.importorskip("sphinx_book_theme", reason="the site needs its extra: pip install 'jaxopt_lab[docs]'")
    pytest.importorskip("myst_nb")
    words = ["-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(tmp_path)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "heavy_ball" in (tmp_path / "generated" / "api" / "rules.html").read_text(encoding="utf-8")
