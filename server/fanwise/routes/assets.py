"""The files that browsers load: `GET /static/{path}`."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

DIRECTORY = Path(__file__).parent / "static"

# Browsers check their copy each time (ETag), so that an upgrade of the server reaches them. A file that is opened by
# itself runs nothing.
HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}

# {suffix: type}. Browsers run modules of this type only, and Python's own guess depends on the machine's tables.
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ts": "text/plain; charset=utf-8",
}


def static_routes() -> APIRouter:
    """`GET /static/{path}` and HEAD: the browser client, and the files of the live page.

    A plain route, since not every FastAPI that we run on takes over mounts from a router that is included.
    """
    router, files = APIRouter(), StaticFiles(directory=DIRECTORY)

    async def static(request: Request) -> Response:
        response = await files.get_response(request.path_params["path"], request.scope)
        media_type = MEDIA_TYPES.get(Path(request.path_params["path"]).suffix)
        if media_type is not None and response.status_code == 200:  # noqa: PLR2004 - 304 has no content to have a type
            response.headers["Content-Type"] = media_type
        response.headers.update(HEADERS)
        return response

    router.add_api_route("/static/{path:path}", static, methods=["GET", "HEAD"], include_in_schema=False)
    return router
