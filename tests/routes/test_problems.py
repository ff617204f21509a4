from __future__ import annotations

import json
import logging

import pytest
from fastapi import FastAPI
from starlette.requests import HTTPConnection
from websockets.exceptions import InvalidStatus

from fanwise import errors
from fanwise.broadcaster.node import Node
from fanwise.core.codes import CodedError, ErrorCode
from fanwise.routes.auth.guards import Access
from fanwise.routes.problems import FanwiseErrorBody, error_response, note_refusal
from fanwise.routes.router import build_router

from ..support.live import app_of, running


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.ChannelNameError("no good"), 400, "bad_channel"),
        (errors.MessageTooBigError(size_bytes=2, limit_bytes=1), 413, "too_big"),
        (errors.ChannelLimitError(limit_channels=1), 503, "too_many_channels"),
        (errors.FullError(limit_clients=1), 503, "full"),
        (errors.DrainingError(), 503, "draining"),
        (CodedError(ErrorCode.NO_CLIENT, "there is nobody"), 404, "no_client"),
    ],
)
def test_our_errors_have_an_answer(error: errors.FanwiseError, status: int, code: str) -> None:
    """With a status, a stable code and the error's own sentence; what is not ready says when to come back."""
    counted: list[ErrorCode] = []
    code_counted = note_refusal(HTTPConnection({"type": "http", "path": "/", "headers": []}), error, counted.append)
    assert counted == [code_counted]
    response = error_response(code_counted, str(error))
    body = FanwiseErrorBody.model_validate_json(bytes(response.body))
    assert (response.status_code, body.error.code, body.error.message) == (status, code, str(error))
    assert ("retry-after" in response.headers) == (status == 503)


def test_what_has_no_answer_stays_an_error() -> None:
    """A broadcaster that was not started is the operator's mistake: it must not look like the request's."""
    counted: list[ErrorCode] = []
    connection = HTTPConnection({"type": "http", "path": "/", "headers": []})
    with pytest.raises(errors.NotRunningError):
        note_refusal(connection, errors.NotRunningError(), counted.append)
    assert counted == []


def test_openapi_describes_every_route_with_its_errors() -> None:
    """A summary, a description, our error model and nothing of FastAPI's own."""
    app = FastAPI()
    app.include_router(build_router(Node()))
    document = app.openapi()
    assert not {name for name in document["components"]["schemas"] if "Validation" in name}
    assert set(document["paths"]) == {
        "/channels",
        "/channels/{channel}/history",
        "/channels/{channel}/presence",
        "/clients",
        "/clients/{id}",
        "/demo",
        "/healthz",
        "/metrics",
        "/publish",
        "/publish/{channel}",
        "/readyz",
        "/sse/{channel}",
        "/stats",
        "/stats/past",
        "/trace",
    }
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"]
            assert operation["description"]
            if operation["tags"] == ["Fanwise"]:
                refused = operation["responses"]["403"]["content"]["application/json"]["schema"]
                assert refused == {"$ref": "#/components/schemas/FanwiseErrorBody"}
            secured = path.startswith(("/publish", "/clients", "/stats", "/metrics", "/trace"))
            secured = secured or (path, method) in (("/demo", "put"), ("/demo", "delete"))
            assert ("security" in operation) == secured
    assert document["components"]["schemas"]["FanwiseErrorBody"]["required"] == ["error"]
    body = document["paths"]["/publish/{channel}"]["post"]["requestBody"]["content"]
    assert set(body) == {"text/plain", "application/json", "application/octet-stream"}


@pytest.mark.anyio
async def test_refusals_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """Where, to whom and why, without the query string; what is not there is no refusal, and no line."""
    key = {"X-API-Key": "correct-horse"}
    app = app_of(build_router(Node(max_clients=1), access=Access(api_key="correct-horse")))
    with caplog.at_level(logging.INFO, "fanwise"):
        async with running(app) as live, await live.connect():
            await live.request("POST", "/publish/lobby?token=secret")
            await live.request("POST", "/publish/no%20%1bgood", headers=key)
            await live.request("GET", "/clients", headers=key | {"Origin": "https://elsewhere.example"})
            await live.request("GET", "/sse/lobby")
            await live.request("GET", "/channels/nothing/history")
            await live.request("DELETE", "/clients/nobody", headers=key)
            for path, headers in {
                "/ws?channel=a%20b": {},
                "/ws?token=secret": {"X-API-Key": "secret"},
                "/ws": {},
                "/live": {},
            }.items():
                with pytest.raises(InvalidStatus):
                    await live.connect(path, additional_headers=headers)
    told = [vars(record) for record in caplog.records]
    pages = told[2]["reason"]
    host = f"host '127.0.0.1:{live.port}', asked over http"
    assert pages.startswith(f"bad_origin: pages of origin 'https://elsewhere.example' may not connect to {host}: ")
    assert [(line["levelname"], line["code"], line["path"], line["reason"]) for line in told] == [
        ("INFO", "refused", "/publish/lobby", "unauthorised"),
        ("INFO", "refused", "/publish/no%20%1Bgood", "bad_channel"),
        ("INFO", "refused", "/clients", pages),
        ("WARNING", "no_room", "/sse/lobby", "full"),
        ("INFO", "refused", "/ws", "bad_channel"),
        ("INFO", "refused", "/ws", "unauthorised"),
        ("WARNING", "no_room", "/ws", "full"),
        ("INFO", "refused", "/live", "unauthorised"),
    ]
    assert {line["address"].partition(":")[0] for line in told} == {"127.0.0.1"}
    assert "secret" not in caplog.text


@pytest.mark.anyio
async def test_a_body_that_cannot_be_read_is_answered_in_our_shape() -> None:
    """Also a number of 4,000 digits."""
    async with running(app_of(build_router(Node(), demo_clients=5))) as live:
        headers = {"Content-Type": "application/json"}
        status, _, body = await live.request("PUT", "/demo", b'{"clients": ' + b"9" * 4000 + b"}", headers=headers)
    assert (status, json.loads(body)["error"]["code"]) == (400, "bad_request")
