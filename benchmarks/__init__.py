"""`python -m benchmarks [NAME...]` runs tinylm and its peers in turn, each in a fresh process."""
