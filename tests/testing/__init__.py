"""Tests of `fanwise.testing`."""
