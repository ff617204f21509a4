from __future__ import annotations

import subprocess
import sys

import pytest

import fanwise

from ..support.processes import ROOT


def test_a_program_that_is_only_a_client_needs_no_server() -> None:
    """Importing the client imports neither FastAPI nor uvicorn; everything that is exported can be had."""
    code = "import sys; from fanwise.client import FanwiseClient; assert not {'fastapi', 'uvicorn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)
    for name in fanwise.__all__:
        assert getattr(fanwise, name).__name__.endswith(name)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        fanwise.nonsense  # noqa: B018
