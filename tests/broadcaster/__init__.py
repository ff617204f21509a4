"""Tests of `fanwise/broadcaster/`."""
