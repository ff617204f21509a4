"""Tests of `fanwise/tools/bench/run/`."""
