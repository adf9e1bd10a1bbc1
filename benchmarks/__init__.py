"""`python -m benchmarks [NAME...]`: tinylm beside its peers, alternately, each run in a fresh process."""
