"""The live page: `GET /`. It shows `/stats` and `/live`, and loads only files of `static/`."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from .assets import DIRECTORY

# The page loads this server's own files only: no inline script, no other host, no frame around it. Where browsers know
# trusted types, text cannot become HTML.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def page_routes() -> APIRouter:
    """`GET /` and HEAD. All URLs in the page are relative, so that it works under any prefix that ends with a slash."""
    content = (DIRECTORY / "index.html").read_bytes()

    async def page() -> Response:
        return Response(content, media_type="text/html; charset=utf-8", headers=HEADERS)

    router = APIRouter()
    router.add_api_route("/", page, methods=["GET", "HEAD"], include_in_schema=False)
    return router
