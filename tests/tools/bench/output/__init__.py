"""Tests of `fanwise/tools/bench/output/`."""
