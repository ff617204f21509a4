"""Tests of `fanwise/backplane/`."""
