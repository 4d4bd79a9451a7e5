"""Conditioning: what the ratio of the largest to the smallest curvature costs, and what changes it."""
