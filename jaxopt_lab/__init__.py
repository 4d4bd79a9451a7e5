"""jaxopt_lab: a laboratory bench for optimization in JAX."""
