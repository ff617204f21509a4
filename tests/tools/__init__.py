"""Tests of `fanwise/tools/`."""
