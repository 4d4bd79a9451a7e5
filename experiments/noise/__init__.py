"""Gradient noise: where runs stop falling, and at which batch sizes momentum helps."""
