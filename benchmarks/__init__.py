"""Benchmarks: ratios measured side by side in one process, medians; figures that were taken are in RESULTS.md."""
