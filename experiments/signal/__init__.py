"""Signals: what activations, initialization, preprocessing and normalization do on the way through a network."""
