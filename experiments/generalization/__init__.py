"""Generalization: what regularization does, and where a model learns the data and not the law."""
