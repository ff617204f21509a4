"""Tests of `fanwise bench`."""
