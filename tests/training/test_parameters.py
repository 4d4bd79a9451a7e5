import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import training
from jaxopt_lab.core import InputError

PARAMS = {"first": {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(3)}, "scale": jnp.asarray(2.0)}


def test_parameters_come_back_by_their_names(tmp_path):
    training.save_params(tmp_path / "params.npz", PARAMS)
    assert sorted(np.load(tmp_path / "params.npz")) == ["first/bias", "first/kernel", "scale"]
    found = training.load_params(tmp_path / "params.npz", PARAMS)
    np.testing.assert_array_equal(found["first"]["kernel"], PARAMS["first"]["kernel"])
    assert found["scale"].dtype == PARAMS["scale"].dtype


def test_bfloat16_parameters_come_back_as_such(tmp_path):
    params = jnp.ones(3, jnp.bfloat16)
    training.save_params(tmp_path / "params.npz", params)
    assert training.load_params(tmp_path / "params.npz", params).dtype == jnp.bfloat16


def test_files_of_something_else_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read as the parameters of this network"):
        training.load_params(tmp_path / "nothing.npz", PARAMS)
    (tmp_path / "torn.npz").write_bytes(b"PK no archive")
    with pytest.raises(InputError, match="cannot be read as the parameters of this network"):
        training.load_params(tmp_path / "torn.npz", PARAMS)
    np.savez(tmp_path / "other.npz", **{"first/kernel": np.zeros((2, 3)), "first/bia": np.zeros(3), "scale": 1.0})
    with pytest.raises(InputError, match="Did you mean 'first/bia'"):
        training.load_params(tmp_path / "other.npz", PARAMS)
    training.save_params(tmp_path / "wide.npz", PARAMS | {"scale": jnp.ones(2)})
    with pytest.raises(InputError, match=r"scale has shape \(2,\), the network's has \(\)"):
        training.load_params(tmp_path / "wide.npz", PARAMS)
