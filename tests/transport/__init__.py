"""Tests of `fanwise/transport/`."""
