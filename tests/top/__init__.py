"""Tests of `fanwise top`."""
