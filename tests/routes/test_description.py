from __future__ import annotations

import pytest

from fanwise.app import create_app
from fanwise.settings import load_settings

from ..support.live import running

pytestmark = pytest.mark.anyio


async def test_a_server_describes_itself_to_readers() -> None:
    """Where reading asks for a key: the page of the documentation, and what it loads."""
    app = create_app(load_settings(api_key="publish:correct-horse,read:battery-staple", read="key"))
    async with running(app) as live:
        for path in ("/docs", "/openapi.json", "/asyncapi.json"):
            assert (await live.request("GET", path)).status == 401
            assert (await live.request("GET", path, headers={"X-API-Key": "battery-staple"})).status == 200
        described = await live.request("GET", "/openapi.json", headers={"X-API-Key": "battery-staple"})
        assert "/publish/{channel}" in described.json["paths"]
        assert b"/openapi.json" in (await live.request("GET", "/docs", headers={"X-API-Key": "battery-staple"})).body


async def test_without_that_to_everybody() -> None:
    """As FastAPI does it."""
    async with running(create_app(load_settings())) as live:
        for path in ("/docs", "/openapi.json", "/asyncapi.json"):
            assert (await live.request("GET", path)).status == 200
