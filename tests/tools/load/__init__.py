"""Tests of `fanwise/tools/load/`."""
