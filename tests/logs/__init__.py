"""Tests of `fanwise/logs/`."""
