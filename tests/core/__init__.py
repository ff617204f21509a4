"""Tests of `fanwise/core/`."""
