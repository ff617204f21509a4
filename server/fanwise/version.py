"""The version of the server."""

from __future__ import annotations

from importlib.metadata import version

SERVER_VERSION = version("fanwise")  # read from a file, which takes a quarter of a millisecond
