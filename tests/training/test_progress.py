"""Where a progress bar is drawn."""

import sys
import types

from jaxopt_lab.training import progress


def drawn(capsys):
    with progress.progress_bar("steps of a run", 10) as tell:
        tell(10)
    return "steps of a run" in capsys.readouterr().err


def test_a_bar_is_silent_where_nobody_watches(capsys, monkeypatch):
    assert not drawn(capsys)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert drawn(capsys)


def test_a_notebook_is_a_kernel_that_can_show_a_bar(monkeypatch):
    for name in ("ipykernel", "ipywidgets"):
        module = types.ModuleType(name)
        module.__spec__ = types.SimpleNamespace()
        monkeypatch.setitem(sys.modules, name, module)
    assert not progress._in_notebook()  # imported, but no kernel runs this
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert progress._in_notebook()
    monkeypatch.delitem(sys.modules, "ipywidgets")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not progress._in_notebook()
