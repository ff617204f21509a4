from __future__ import annotations

import ast
import re

import pytest
from fastapi import FastAPI

from fanwise import errors
from fanwise.broadcaster.node import Node
from fanwise.core.codes import CodedError, ErrorCode, code_of
from fanwise.routes.asyncapi import describe
from fanwise.routes.router import build_router

from ..support.processes import ROOT

SERVER = ROOT / "server" / "fanwise"
TABLE = SERVER / "core" / "codes.py"
ROOMS = ("routes", "transport", "broadcaster")  # whose code answers
VALUES = {code.value for code in ErrorCode}


def literals(source: str) -> set[str]:
    """The codes that `source` spells instead of naming a member of the table."""
    return {
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value in VALUES - {"draining", "full", "unconfirmed"}
    }


def test_no_code_is_spelled_beside_the_table() -> None:
    """But as an example of the documentation, and those that are common words ("draining" is a field of `/stats`)."""
    found = {
        (path.name, value)
        for room in ROOMS
        for path in sorted((SERVER / room).rglob("*.py"))
        for value in literals(path.read_text())
    }
    assert found <= {("problems.py", "bad_channel")}
    assert literals('answer(404, "no_channel")') == {"no_channel"}, "the check itself can fail"


def test_no_code_of_the_table_is_without_use() -> None:
    """A code that nothing answers with would be a promise in the documentation."""
    named = set()
    for path in SERVER.rglob("*.py"):
        source = path.read_text()
        if path == TABLE:  # what errors are answered with
            source = source[source.index("_CODES") :]
        named |= set(re.findall(r"ErrorCode\.([A-Z_]+)", source))
    assert named == set(ErrorCode.__members__)


# A connection is refused with them before a route is asked; the body is plain text.
WITHOUT_PLACE = {ErrorCode.BUSY, ErrorCode.CONNECTS_TOO_FAST, ErrorCode.TOO_MANY_CONNECTIONS}
BEFORE_ROUTES = {*WITHOUT_PLACE, ErrorCode.HEAD_TOO_LARGE, ErrorCode.LATE, ErrorCode.WRONG_VERSION}
OF_WEBSOCKETS = {ErrorCode.UPGRADE_REQUIRED}  # whose routes OpenAPI does not describe


def test_openapi_and_asyncapi_have_every_code() -> None:
    """Each where a peer can meet it."""
    app = FastAPI()
    app.include_router(build_router(Node(), page=True))
    answers = [
        answer["description"]
        for methods in app.openapi()["paths"].values()
        for operation in methods.values()
        for answer in operation["responses"].values()
    ]
    for code in set(ErrorCode) - BEFORE_ROUTES - OF_WEBSOCKETS:
        assert code.status is None or any(f"`{code}`: {code.text}" in answer for answer in answers), code
    document = describe(host="here", secure=False, default_channel="lobby", template="{text}")
    spoken = document["components"]["schemas"]["Error"]["properties"]["code"]["enum"]
    assert set(spoken) == {code.value for code in ErrorCode if code.in_dialect}


def test_who_may_come_back_is_told_when() -> None:
    """What passes by itself has Retry-After; what waits for an operator has not."""
    assert {code for code in ErrorCode if "Retry-After" in code.headers} == {
        ErrorCode.BACKPLANE_DOWN,
        ErrorCode.CHANNEL_FULL,
        ErrorCode.DRAINING,
        ErrorCode.FULL,
        ErrorCode.PUBLISHES_TOO_FAST,
        ErrorCode.TOKENS_TOO_FAST,
        ErrorCode.TOO_MANY_CHANNELS,
        ErrorCode.TOO_MANY_FILTERS,
        ErrorCode.TOO_MANY_TRACES,
        *WITHOUT_PLACE,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ChannelNameError("no good"), ErrorCode.BAD_CHANNEL),
        (errors.PositionError("x"), ErrorCode.BAD_POSITION),
        (errors.BeginningError("two"), ErrorCode.BAD_POSITION),
        (errors.TagError("no"), ErrorCode.BAD_TAGS),
        (errors.FilterLimitError("a", limit_filters=1), ErrorCode.TOO_MANY_FILTERS),
        (errors.PayloadError(object(), "no"), ErrorCode.WRONG_TYPE),
        (errors.AlreadySubscribedError("a"), ErrorCode.ALREADY_SUBSCRIBED),
        (CodedError(ErrorCode.NO_DEMO, "none here"), ErrorCode.NO_DEMO),
        (errors.NotRunningError(), None),
        (errors.GoneError(), None),
    ],
)
def test_the_code_of_an_error(error: errors.FanwiseError, code: ErrorCode | None) -> None:
    """None where the mistake is not the peer's."""
    assert code_of(error) is code


def test_a_refusal_says_what_is_wrong() -> None:
    """Its text is the problem, and its code the one that it was made with."""
    refusal = CodedError(ErrorCode.BAD_JSON, "the body is not JSON")
    assert (str(refusal), code_of(refusal)) == ("the body is not JSON", ErrorCode.BAD_JSON)
