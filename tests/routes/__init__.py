"""Tests of `fanwise/routes/`."""
