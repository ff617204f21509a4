"""Tests of `fanwise/routes/auth/`."""
