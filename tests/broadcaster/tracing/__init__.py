"""Tests of `fanwise/broadcaster/tracing/`."""
