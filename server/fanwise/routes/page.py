"""The live page: `GET /`, and the demo alone at `/demo`. It shows `/stats` and `/live`, from files of `static/`."""

from __future__ import annotations

from collections.abc import Mapping

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


_PAGE = (DIRECTORY / "index.html").read_bytes()
_DEMO = _PAGE.replace(b'<body class="', b'<body class="alone ').replace(b"<title>Fanwise<", b"<title>Fanwise: demo<")


def demo_page() -> Response:
    """Returns the page with the demo alone. Its URLs are those of the page: `/demo` stands beside `/`."""
    return _answer(_DEMO, {"Vary": "Accept"})


def page_routes() -> APIRouter:
    """`GET /` and HEAD. All URLs in the page are relative, so that it works under any prefix that ends with a slash."""

    async def page() -> Response:
        return _answer(_PAGE, {})

    router = APIRouter()
    router.add_api_route("/", page, methods=["GET", "HEAD"], include_in_schema=False)
    return router


def _answer(content: bytes, headers: Mapping[str, str]) -> Response:
    return Response(content, media_type="text/html; charset=utf-8", headers={**HEADERS, **headers})
