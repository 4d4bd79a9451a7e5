"""The search for hyperparameters: grid or random, coarse to fine, one at a time, and what a small rate costs."""
