"""Tokens for a server whose key the tests know, and the settings of such a server."""

from __future__ import annotations

import time
from typing import Any

import jwt

KEY = "a-secret-of-the-tests-of-32-bytes-and-more"
ASKING: dict[str, Any] = {"FANWISE_READ": "token", "FANWISE_TOKEN_KEY": KEY, "FANWISE_TOKEN_LEEWAY_SECONDS": "0"}


def minted(seconds: float = 600, *, user: str = "ann", **claims: Any) -> str:
    """A token for `seconds`; its user may do everything on all channels."""
    about = {"sub": user, "exp": time.time() + seconds, "subscribe": ["*"], "publish": ["*"], "info": {"name": user}}
    return jwt.encode({**about, **claims}, KEY, algorithm="HS256")
