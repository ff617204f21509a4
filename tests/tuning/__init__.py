"""Tests of `fanwise/tuning/`."""
