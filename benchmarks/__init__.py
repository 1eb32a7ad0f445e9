"""Measurements of the server, next to a floor measured in the same run: `python -m benchmarks`."""
