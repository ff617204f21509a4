from __future__ import annotations

import subprocess
import sys

import pytest

import server

from .processes import ROOT


def test_a_program_that_is_only_a_client_needs_no_server() -> None:
    """Importing the client imports neither FastAPI nor uvicorn; everything that is exported can be had."""
    code = "import sys, server.client; assert not {'fastapi', 'uvicorn'} & set(sys.modules), 'they were imported'"
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)
    for name in server.__all__:
        assert getattr(server, name).__name__.endswith(name)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        server.nonsense  # noqa: B018
