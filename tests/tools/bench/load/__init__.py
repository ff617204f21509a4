"""Tests of `fanwise/tools/bench/load/`."""
