"""`GET /docs` and `GET /openapi.json` of a server that does not describe itself to everybody."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import JSONResponse, Response

from ..broadcaster.node import Node
from .auth.guards import Access, known_guards
from .problems import make_router

OPENAPI = "/openapi.json"


def description_routes(app: FastAPI, broadcaster: Node, access: Access) -> APIRouter:
    """`GET /docs` and `GET /openapi.json` of `app`, for those who may read."""
    router = make_router(broadcaster.tally.reject)
    guards = known_guards(access)

    async def docs(request: Request) -> Response:
        root = request.scope.get("root_path", "").rstrip("/")
        return get_swagger_ui_html(openapi_url=root + OPENAPI, title=app.title)

    async def openapi() -> Response:
        return JSONResponse(app.openapi())

    router.add_api_route("/docs", docs, dependencies=guards, include_in_schema=False)
    router.add_api_route(OPENAPI, openapi, dependencies=guards, include_in_schema=False)
    return router
