from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.backplane.port import ANSWER_BYTES, QUESTION_BYTES
from fanwise.backplane.questions import MESSAGE_BYTES, Questions

OWN, OTHER = "0000000a", "0000000b"


class Wire:
    """One worker's questions, and what it sends and hears."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.asked: list[bytes] = []
        self.heard: list[tuple[str, bytes]] = []
        self.questions = Questions(
            OWN, send=lambda to, message: self.sent.append((to, message)), asked=lambda one, _: self.asked.append(one)
        )

    def ask(self) -> None:
        self.questions.ask(b"q", lambda worker, answer: self.heard.append((worker, answer)))


def test_an_answer_goes_to_its_question() -> None:
    """By its number: that of another question, or of none, is dropped, and so is a second one."""
    wire = Wire()
    wire.ask()
    for message in (b"1 a 2 0000000b\nno", b"1 a 1 0000000b\nyes", b"1 a 1 0000000b\nno", b"1 a 1 0000000c\n"):
        wire.questions.received(message)
    assert wire.sent == [("", b"1 q 1 0000000a\nq")]
    assert wire.heard == [(OTHER, b"yes"), ("0000000c", b"")]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"1 q 1 0000000b",
        b"2 q 1 0000000b\nx",
        b"1 x 1 0000000b\nx",
        b"1 q 1 0000000B\nx",
        b"1 q 1 0000000b0\nx",
        b"1 q -1 0000000b\nx",
        b"1 q 1234567890123456789 0000000b\nx",
        b"1 q 1 0000000a\nour own",
        b"1 q 1 0000000b\n" + bytes(QUESTION_BYTES + 1),
        b"1 a 1 0000000b\n" + bytes(MESSAGE_BYTES),
    ],
)
def test_what_is_no_message_is_dropped(message: bytes) -> None:
    """Also what is too large, and what comes back from all."""
    wire = Wire()
    wire.ask()
    wire.questions.received(message)
    assert (wire.asked, wire.heard) == ([], [])


@given(st.binary(max_size=40))
def test_any_bytes_do_no_harm(message: bytes) -> None:
    """Nothing is raised."""
    wire = Wire()
    wire.questions.received(message)
    wire.questions.received(b"1 q " + message)


def test_an_answer_is_sent_to_who_has_asked() -> None:
    """One that is too large is a mistake of who answers."""
    sent: list[tuple[str, bytes]] = []

    questions = Questions(
        OWN, send=lambda to, message: sent.append((to, message)), asked=lambda question, answer: answer(question)
    )
    questions.received(b"1 q 12 0000000b\nx")
    assert sent == [(OTHER, b"1 a 12 0000000a\nx")]
    greedy = Questions(OWN, send=lambda *_: None, asked=lambda _, answer: answer(bytes(ANSWER_BYTES + 1)))
    with pytest.raises(ValueError, match="1048576"):
        greedy.received(b"1 q 12 0000000b\nx")
