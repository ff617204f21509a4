from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import TypeAdapter

from fanwise.broadcaster.node import Node
from fanwise.core.reasons import CloseReason
from fanwise.routes.asyncapi import EXAMPLES, describe
from fanwise.routes.json_models import Answer, Op

from .test_json_session import serving


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


DOCUMENT = describe(host="example.com", secure=True, default_channel="lobby", template="Message: {text}")


def test_every_reference_leads_somewhere() -> None:
    """A document with a dangling reference is refused by every tool."""
    found = set(references(DOCUMENT))
    assert len(found) > 20
    for reference in found:
        node = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_every_message_of_the_dialect_is_described_with_an_example_that_is_valid() -> None:
    """By the models that the server itself reads with, and no message is forgotten."""
    ops: TypeAdapter[object] = TypeAdapter(Op | Answer)
    assert {type(ops.validate_python(example)) for example in EXAMPLES.values()} == set(EXAMPLES)
    described = DOCUMENT["components"]["messages"]
    assert {message["name"] for message in described.values()} == {
        *(example["op"] for example in EXAMPLES.values()),
        "text",
    }
    assert DOCUMENT["components"]["schemas"]["GapMessage"]["properties"].keys() >= {"from", "to"}


def test_every_close_code_is_named() -> None:
    """Also the ones that are added later."""
    for reason in CloseReason:
        assert f"{reason.code} {reason.name.lower()}" in DOCUMENT["info"]["description"]


@pytest.mark.anyio
async def test_the_server_describes_itself_as_it_was_asked() -> None:
    """With the host under which it is reached."""
    async with serving(Node()) as live:
        answer = await live.request("GET", "/asyncapi.json")
        assert answer.json["servers"] == {"this": {"host": f"127.0.0.1:{live.port}", "protocol": "ws"}}
        assert answer.json["asyncapi"] == "3.0.0"
