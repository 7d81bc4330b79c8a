"""A readout by ridge regression predicts the next state, without a gradient."""

import jax
import jax.numpy as jnp

import rnnjax
from experiments import forecast
from rnnjax import app


def test_a_reservoir_with_its_readout_in_closed_form_predicts_the_next_state():
    flags = ["--system=henon", "--cell=esn", "--hidden_size=40", "--num_layers=1", "--length=20", "--ridge=1e-6"]
    [config] = app.run_configs(app.parse(forecast.EXPERIMENT.flags, ["forecast", *flags]))
    cell, keys = rnnjax.unroll(forecast.network(config)), jax.random.split(jax.random.key(7), 4)
    orbits = jax.vmap(lambda key: forecast.orbits(forecast.SYSTEMS["henon"], key, 60))(keys)
    fitted = forecast.readout_by_ridge(config, cell.init(jax.random.key(0), orbits[0]))
    ys = jax.vmap(lambda xs: rnnjax.run(cell, fitted, xs)[1])(orbits[:, :-1])
    assert jnp.mean((ys - orbits[:, 1:])[:, 20:] ** 2) < 1e-2  # of a variance of 1
