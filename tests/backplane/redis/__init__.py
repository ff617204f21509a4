"""Tests of `fanwise/backplane/redis/`."""
