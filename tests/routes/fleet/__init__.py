"""Tests of `fanwise/routes/fleet/`."""
