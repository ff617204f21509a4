"""Tests of `fanwise/backplane/nats/`."""
