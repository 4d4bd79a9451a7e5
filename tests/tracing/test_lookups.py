"""Whole numbers of the data that name no row of a table of parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.tracing.lookups import clamped_share

TABLE = jnp.ones((10, 3))
IDS = np.array([[0, 9], [10, 4], [-1, -10], [-11, 30]], np.int32)  # three of eight name no row


def share(look, params=TABLE, ids=IDS):
    return clamped_share(as_partial(lambda params, batch, key: jnp.sum(look(params, batch))), params, ids)


@pytest.mark.parametrize(
    ("look", "wanted"),
    [
        (lambda table, ids: table[ids], 3 / 8),
        (lambda table, ids: jax.vmap(lambda one: table[one])(ids), 3 / 8),
        (lambda table, ids: 2 * jax.nn.relu(table)[ids // 2], 1 / 8),
        (lambda table, ids: table[ids % 10], 0.0),
        (lambda table, ids: jnp.take(table, ids, axis=0), 0.0),  # NaN where there is no row
        (lambda table, ids: table * jnp.sum(ids), 0.0),
        (lambda table, ids: table[:8] @ jnp.ones((3, 1)) * ids[:, :1].repeat(2, 0), 0.0),
        (lambda table, ids: table[ids] + table.at[ids].get(mode="clip"), 3 / 8),
    ],
)
def test_the_share_of_numbers_beyond_the_last_row(look, wanted):
    assert share(look) == pytest.approx(wanted)


def test_of_several_lookups_the_worst_is_told():
    tables = {"few": jnp.ones((4, 3)), "many": jnp.ones((40, 3))}
    assert share(lambda tables, ids: tables["few"][ids] + tables["many"][ids], tables) == pytest.approx(6 / 8)


def test_a_table_of_the_data_and_numbers_made_of_parameters_are_no_lookups():
    assert share(lambda table, ids: (table[0, 0] * jnp.ones((4, 2)) * ids)[ids]) == 0
    assert share(lambda table, ids: ids[jnp.argmax(table) + 20]) == 0
    assert share(lambda table, ids: table[ids + jnp.argmax(table) + 20]) == 0
