"""Whole server processes over sockets, and what is installed."""
