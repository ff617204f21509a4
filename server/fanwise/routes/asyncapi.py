"""`/asyncapi.json`: the WebSocket dialects in AsyncAPI 3, from the models that read operations."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic.json_schema import models_json_schema
from starlette.responses import JSONResponse, Response

from ..core.codes import ErrorCode
from ..core.reasons import CloseReason
from ..version import SERVER_VERSION
from .auth.credentials import JWT_SUBPROTOCOL
from .auth.guards import Access, known_guards
from .auth.keys import KEY_SUBPROTOCOL
from .json_models import (
    OPERATIONS,
    SUBPROTOCOL,
    AskPresence,
    Authenticate,
    Authenticated,
    Direct,
    Error,
    GapMessage,
    Join,
    Leave,
    Message,
    PresenceAnswer,
    PresenceGap,
    Publish,
    Published,
    Skipped,
    Strict,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)

VERSION = "3.0.0"
# {operation: its answer, beside `error`}
ASKED: dict[type[Strict], type[Strict]] = {
    Subscribe: Subscribed,
    Unsubscribe: Unsubscribed,
    Publish: Published,
    Authenticate: Authenticated,
    AskPresence: PresenceAnswer,
}
# Sent without a request.
TOLD: list[type[Strict]] = [Welcome, Message, GapMessage, Skipped, Direct, Join, Leave, PresenceGap]
EXAMPLES: dict[type[Strict], dict[str, Any]] = {
    Subscribe: {"op": "subscribe", "channel": "lobby", "since": {"epoch": "9f2c01ab77e4", "offset": 41}},
    Unsubscribe: {"op": "unsubscribe", "channel": "lobby"},
    Publish: {"op": "publish", "channel": "lobby", "data": {"hello": "world"}, "id": 1},
    Authenticate: {"op": "authenticate", "token": "eyJhbGciOi..."},
    Welcome: {
        "op": "welcome",
        "client": "ae147223ca85552e",
        "version": "0.1.0",
        "max_message_bytes": 65536,
        "max_subscriptions": 100,
    },
    Subscribed: {"op": "subscribed", "channel": "lobby", "epoch": "9f2c01ab77e4", "offset": 41, "recovered": True},
    Message: {"op": "message", "channel": "lobby", "offset": 42, "data": {"hello": "world"}},
    GapMessage: {"op": "gap", "channel": "lobby", "epoch": "9f2c01ab77e4", "from": 1, "to": 7, "reason": "history"},
    Skipped: {"op": "skipped", "channel": "lobby", "epoch": "9f2c01ab77e4", "offset": 43},
    Direct: {"op": "direct", "data": {"hello": "Ada"}},
    Published: {"op": "published", "channel": "lobby", "id": 1, "epoch": "9f2c01ab77e4", "offset": 42},
    Unsubscribed: {"op": "unsubscribed", "channel": "lobby"},
    Authenticated: {"op": "authenticated", "user": "ada", "expires_in": 3600.0},
    AskPresence: {"op": "presence", "channel": "lobby"},
    PresenceAnswer: {
        "op": "presence",
        "channel": "lobby",
        "clients": 2,
        "users": 1,
        "members": [{"id": "ada", "info": {"name": "Ada"}}],
        "truncated": False,
    },
    Join: {"op": "join", "channel": "lobby", "id": "ada", "info": {"name": "Ada"}},
    Leave: {"op": "leave", "channel": "lobby", "id": "ada"},
    PresenceGap: {"op": "presence_gap", "channel": "lobby", "users": 2000},
    Error: {
        "op": "error",
        "code": ErrorCode.UNKNOWN_OP.value,
        "message": f"op: it is one of {OPERATIONS}",
    },
}


def describe(*, host: str, secure: bool, default_channel: str, template: str) -> dict[str, Any]:
    """Returns the whole document.

    Args:
        host: Host and port of the request, "host:port".
        secure: Whether the request came over TLS.
        default_channel: Channel of the plain dialect without `?channel=`.
        template: Text of each publication of the plain dialect.
    """
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Fanwise",
            "version": SERVER_VERSION,
            "description": f"WebSocket fan-out. A connection ends with one of these codes: {_close_codes()}.",
        },
        "defaultContentType": "application/json",
        "servers": {"this": {"host": host, "protocol": "wss" if secure else "ws"}},
        "channels": {"plain": _plain_channel(default_channel, template), "json": _json_channel()},
        "operations": {**_plain_operations(), **_json_operations()},
        "components": _components(),
    }


def _close_codes() -> str:
    return ", ".join(f"{reason.code} {reason.name.lower()}" for reason in CloseReason)


def _name(model: type[Strict]) -> str:
    return str(model.model_config.get("title") or model.__name__)


def _components() -> dict[str, Any]:
    models = list(EXAMPLES)
    _, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}", by_alias=True
    )
    messages = {
        _name(model): {
            "name": EXAMPLES[model]["op"],
            "summary": (model.__doc__ or "").strip().partition("\n")[0],
            "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
            "examples": [{"payload": EXAMPLES[model]}],
        }
        for model in models
    }
    text = {"name": "text", "contentType": "text/plain", "payload": {"type": "string"}}
    return {"schemas": schemas["$defs"], "messages": {**messages, "Text": text}}


def _refs(channel: str, names: list[str]) -> list[dict[str, str]]:
    return [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names]


def _messages(names: list[str]) -> dict[str, dict[str, str]]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _plain_channel(default_channel: str, template: str) -> dict[str, Any]:
    query = {
        "type": "object",
        "properties": {"channel": {"type": "string", "default": default_channel, "maxLength": 255}},
    }
    return {
        "address": "/ws",
        "title": "The plain dialect",
        "description": f"Each text is published as {template!r}; binary messages as they are. One channel.",
        "messages": _messages(["Text"]),
        "bindings": {"ws": {"method": "GET", "query": query}},
    }


def _json_channel() -> dict[str, Any]:
    headers = {
        "type": "object",
        "required": ["Sec-WebSocket-Protocol"],
        "properties": {
            "Sec-WebSocket-Protocol": {
                "type": "string",
                "description": f"{SUBPROTOCOL}, and for want of headers {KEY_SUBPROTOCOL} with the key in base64url, "
                f"or {JWT_SUBPROTOCOL} with the token",
            },
            "Authorization": {"type": "string", "description": "Bearer and the key or the token, if one is asked for"},
        },
    }
    return {
        "address": "/ws",
        "title": f"The JSON dialect, {SUBPROTOCOL}",
        "description": "One JSON object per text frame; one connection, many channels.",
        "messages": _messages([_name(model) for model in EXAMPLES]),
        "bindings": {"ws": {"method": "GET", "headers": headers}},
    }


def _plain_operations() -> dict[str, Any]:
    plain = {"$ref": "#/channels/plain"}
    return {
        "publishText": {"action": "receive", "channel": plain, "messages": _refs("plain", ["Text"])},
        "deliverText": {"action": "send", "channel": plain, "messages": _refs("plain", ["Text"])},
    }


def _json_operations() -> dict[str, Any]:
    channel = {"$ref": "#/channels/json"}
    asked = {
        EXAMPLES[op]["op"]: {
            "action": "receive",
            "channel": channel,
            "messages": _refs("json", [_name(op)]),
            "reply": {"channel": channel, "messages": _refs("json", [_name(answer), _name(Error)])},
        }
        for op, answer in ASKED.items()
    }
    told = {"action": "send", "channel": channel, "messages": _refs("json", [_name(model) for model in TOLD])}
    return {**asked, "tell": told}


def asyncapi_routes(access: Access, *, default_channel: str, template: str) -> APIRouter:
    """`GET /asyncapi.json`."""
    router = APIRouter(tags=["Fanwise"])

    async def asyncapi(request: Request) -> Response:
        """Describes the WebSocket dialects in AsyncAPI 3."""
        return JSONResponse(
            describe(
                host=request.url.netloc,
                secure=request.url.scheme == "https",
                default_channel=default_channel,
                template=template,
            )
        )

    router.add_api_route("/asyncapi.json", asyncapi, include_in_schema=False, dependencies=known_guards(access))
    return router
