from __future__ import annotations

import json

import pytest
from pydantic import TypeAdapter
from websockets.frames import Frame, Opcode

from fanwise.core.dialect import JSON, PLAIN, SSE, SSE_JSON, Dialect
from fanwise.core.publication import Kind, Position, Publication
from fanwise.core.queue import Gap
from fanwise.core.reasons import GapReason
from fanwise.routes.json_models import Answer

ANSWER: TypeAdapter[object] = TypeAdapter(Answer)


def told(dialect: Dialect) -> list[bytes]:
    """The payloads of all that a dialect tells."""
    assert dialect.gap is not None
    assert dialect.subscribed is not None
    return [
        dialect.gap("lobby", "e", Gap(1, 0, GapReason.EPOCH)),
        dialect.gap("lobby", "e", Gap(3, 5)),
        dialect.subscribed("lobby", Position("e", 5), True),
        dialect.subscribed("lobby", Position("e", 5), None),
    ]


def test_what_json_clients_are_told_is_what_the_models_say() -> None:
    """The description of the dialect is generated from them."""
    publication = Publication("lobby", "e", 1, b"\xff", Kind.BINARY, 0.0, "key")
    for payload in [*told(JSON), JSON.payload(publication)]:
        assert ANSWER.dump_python(ANSWER.validate_json(payload), by_alias=True, exclude_unset=True) == json.loads(
            payload
        )


@pytest.mark.parametrize("dialect", [SSE, SSE_JSON])
def test_event_streams_are_told_the_same_with_the_position_as_id(dialect: Dialect) -> None:
    """So that a browser that comes back after it says where it stands."""
    for event, payload, position in zip(told(dialect), told(JSON), ["e:0", "e:5", "e:5", "e:5"], strict=True):
        name = json.loads(payload)["op"]
        assert event == f"event: {name}\nid: {position}\ndata: {payload.decode()}\n\n".encode()


@pytest.mark.parametrize("dialect", [PLAIN, JSON, SSE, SSE_JSON])
def test_a_publication_on_the_wire_is_its_framed_payload(dialect: Dialect) -> None:
    """Over plain ASGI and over our own protocol classes a client gets the same."""
    publication = Publication("lobby", "e", 1, b"text", Kind.TEXT, 0.0)
    assert dialect.encode(publication) == dialect.frame(dialect.payload(publication))


def test_the_plain_dialect_has_no_word_for_gaps() -> None:
    """Its clients get payloads and nothing else; binary ones as binary."""
    assert PLAIN.gap is None
    assert PLAIN.subscribed is None
    publication = Publication("lobby", "e", 1, b"\xff", Kind.BINARY, 0.0)
    assert PLAIN.encode(publication) == Frame(Opcode.BINARY, b"\xff").serialize(mask=False)


def test_a_position_with_a_gap_behind_it_is_no_id() -> None:
    """A browser whose stream breaks between the two comes back to where it was, and is told the gap then."""
    assert SSE.subscribed is not None
    assert b"id:" not in SSE.subscribed("lobby", Position("e", 0), False)
