"""How Sphinx makes the site: `make docs`. What is generated (API, gallery, examples) is made by `generate.py` first."""

import importlib.metadata
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent))

project = "jaxopt_lab"
author = "The jaxopt_lab authors"
copyright = author
try:
    release = importlib.metadata.version("jaxopt_lab")
except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
    release = "0"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
nb_execution_mode = "off"
default_role = "code"
exclude_patterns = ["_build"]
html_theme = "sphinx_book_theme"
html_title = "jaxopt_lab"
html_theme_options = {"show_toc_level": 2, "home_page_in_toc": True, "use_download_button": False}

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
# Links of README, CONTRIBUTING and the change log, which lead out of docs/.
suppress_warnings = ["myst.xref_missing", "myst.header"]


def setup(app):
    import docstrings
    import generate

    app.connect("autodoc-process-docstring", docstrings.as_plain_text, priority=400)  # napoleon's is 500
    app.add_config_value("gallery_results", "results", "env")
    app.connect("config-inited", lambda _, config: generate.write_all(HERE, HERE.parent / config.gallery_results))
