"""Faults that people reported, as small programs, sick and mended, beside sound ones."""
