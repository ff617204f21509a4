from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from fanwise.routes.assets import DIRECTORY, static_routes

from ..support.live import Live, running

pytestmark = pytest.mark.anyio


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    app = FastAPI()
    app.include_router(static_routes())
    async with running(app) as live:
        yield live


async def exchange(live: Live, method: str, path: str, *headers: str) -> tuple[int, dict[str, str], bytes]:
    """(status, headers by their names in lower case, body)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *fields = head.decode().split("\r\n")
    return (
        int(status.split()[1]),
        {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)},
        body,
    )


async def test_the_browser_client_is_served(live: Live) -> None:
    """As a JavaScript module that no browser takes for anything else, and that it asks for again after an upgrade."""
    status, headers, body = await exchange(live, "GET", "/static/fanwise.js")
    assert (status, body) == (200, (DIRECTORY / "fanwise.js").read_bytes())
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("page/page.css", "text/css; charset=utf-8"),
        ("page/icon.svg", "image/svg+xml"),
        ("fanwise.d.ts", "text/plain; charset=utf-8"),
        ("uplot/uPlot.esm.js", "text/javascript; charset=utf-8"),
        ("uplot/LICENSE", "text/plain; charset=utf-8"),
    ],
)
async def test_what_the_page_is_made_of(
    live: Live, monkeypatch: pytest.MonkeyPatch, path: str, media_type: str
) -> None:
    """Each has its type, whatever this machine's tables say of it; opened by itself, none of it runs anything."""
    monkeypatch.setattr("starlette.responses.guess_type", lambda *_args: ("text/plain", None))
    status, headers, body = await exchange(live, "GET", f"/static/{path}")
    assert (status, body) == (200, (DIRECTORY / path).read_bytes())
    assert headers["content-type"] == media_type
    assert headers["content-security-policy"].startswith("default-src 'none'")


async def test_what_the_browser_has_is_not_sent_again(live: Live) -> None:
    """Status 304 for the ETag that it was given."""
    _, headers, _ = await exchange(live, "GET", "/static/fanwise.js")
    status, again, body = await exchange(live, "GET", "/static/fanwise.js", f"If-None-Match: {headers['etag']}")
    assert (status, body) == (304, b"")
    assert again["cache-control"] == "no-cache"
    assert "content-type" not in again


async def test_head_has_no_body(live: Live) -> None:
    """Everything but the content."""
    status, headers, body = await exchange(live, "HEAD", "/static/fanwise.js")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) == (DIRECTORY / "fanwise.js").stat().st_size


@pytest.mark.parametrize(
    "path",
    ["", "nothing.js", "../routes.py", "%2e%2e/routes.py", "..%2froutes.py", "%2fetc/passwd", "/etc/passwd"],
)
async def test_nothing_else_is_served(live: Live, path: str) -> None:
    """Neither directories nor what lies beside them."""
    status, _, _ = await exchange(live, "GET", f"/static/{path}")
    assert status == 404


async def test_nothing_is_written(live: Live) -> None:
    """Other methods are refused."""
    status, headers, _ = await exchange(live, "PUT", "/static/fanwise.js")
    assert (status, set(headers["allow"].split(", "))) == (405, {"GET", "HEAD"})
