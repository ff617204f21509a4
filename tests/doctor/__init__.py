"""Tests of `fanwise doctor`."""
