from __future__ import annotations

import pytest

from fanwise.core.publication import Kind, Position, Publication, check_channel_name
from fanwise.errors import ChannelNameError, PositionError


@pytest.mark.parametrize("name", ["a", "lobby", "A-Z/0:9._x", "x" * 255])
def test_allowed_channel_names(name: str) -> None:
    """1 to 255 characters of letters, digits and `._:/-`."""
    assert check_channel_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 256, "a b", "a\n", "ä", "a?b", "a\x00", "a%20"])
def test_refused_channel_names(name: str) -> None:
    """Anything else is refused with the name in the error."""
    with pytest.raises(ChannelNameError) as caught:
        check_channel_name(name)
    assert caught.value.name == name


def test_bytes_are_made_once() -> None:
    """An encoding is called once for a publication, whoever asks."""
    made: list[int] = []

    def encoding(publication: Publication) -> bytes:
        made.append(publication.offset)
        return b"frame"

    publication = Publication("lobby", "e", 7, b"payload", kind=Kind.TEXT, time=0.0)
    first = publication.encoded(encoding)
    assert publication.encoded(encoding) is first
    assert made == [7]
    assert publication.position == Position("e", 7)
    assert repr(publication) == "<Publication lobby@e:7 text, 7 bytes>"


@pytest.mark.parametrize("position", [Position("e", 0), Position("9f2c01ab77e4", 42), Position("A-_z", 10**18 - 1)])
def test_positions_as_text(position: Position) -> None:
    """What is written is what is read."""
    assert Position.parse(str(position)) == position


@pytest.mark.parametrize(
    "text", ["", "e", "e:", ":1", "e:x", "e:-1", "e: 1", "e:1:2", "e:" + "1" * 19, "ä:1", "e:१", "e:1\n"]
)
def test_what_is_no_position(text: str) -> None:
    """Is an error that shows it."""
    with pytest.raises(PositionError, match="epoch:offset"):
        Position.parse(text)
