"""Tests of `fanwise/cli/`."""
