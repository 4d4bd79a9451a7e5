import inspect
import pathlib

import pytest

from jaxopt_lab import theory

FILES = {path.stem for path in pathlib.Path(theory.__path__[0]).glob("*.py")}


def test_every_module_of_closed_forms_is_listed():
    assert set(theory.__all__) == FILES - {"__init__", "arguments"}
    assert dir(theory) == theory.__all__


@pytest.mark.parametrize("module", theory.__all__)
def test_a_module_lists_what_it_defines(module):
    module = getattr(theory, module)
    own = {
        name
        for name, value in vars(module).items()
        if (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == module.__name__
    }
    assert set(module.__all__) == {name for name in own if not name.startswith("_")}


def test_functions_are_found_in_their_modules_only():
    with pytest.raises(AttributeError, match=r"'jaxopt_lab.theory' has no attribute 'optimal_heavy_ball'"):
        theory.optimal_heavy_ball  # noqa: B018
