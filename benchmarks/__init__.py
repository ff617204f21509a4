"""Benchmarks of the hot path: `tox -e bench` measures, plain `pytest` runs each once."""
