"""Tests of `fanwise/client/`."""
