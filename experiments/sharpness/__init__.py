"""Sharpness: which curvature a run with a given learning rate ends up at, and why."""
