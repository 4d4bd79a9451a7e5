"""Saddles: how many directions lead down at the critical points of a loss, and along a run."""
