"""Momentum: what a velocity does to a signal, where it converges, and when it runs past the minimum."""
