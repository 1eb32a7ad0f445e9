"""`python -m benchmarks [GROUP ...]`: measure everything, or the groups named, and print the tables."""
