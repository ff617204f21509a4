from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Self

import pytest
from websockets.sync.client import connect

from fanwise.tools.remote import ForeignError, KeyRefusedError, Remote, UnreachableError
from fanwise.tools.top.picture import Picture
from fanwise.tools.top.plain import Lines
from fanwise.tools.top.watch import Watch, glance, watch

from ...support.documents import document
from ...support.processes import ServerProcess, free_port
from ..test_remote import answering

SERVE = ("-m", "fanwise", "serve", "--port", "{port}")


class StoppedError(Exception):
    """Ends a loop that nothing else ends."""


def nothing(_seconds: float) -> None:
    pass


def tiles(watched: Watch) -> dict[str, str]:
    """What is shown now, or still."""
    assert watched.picture is not None
    return {tile.name: tile.value for tile in watched.picture.tiles}


def test_a_server_that_restarts_is_waited_for(server_process: Callable[..., ServerProcess]) -> None:
    """It says that it is gone, goes on trying, and shows the new one without negative rates."""
    port = free_port()
    watched = Watch(Remote(f"http://127.0.0.1:{port}"))
    watched.look()
    assert "nothing listens there; trying again" in watched.trouble
    first = server_process(*SERVE, port=port)
    with connect(first.url("/ws"), proxy=None, max_queue=None) as websocket:
        for _ in range(100):
            websocket.send("x")
    watched.look()
    watched.look()
    assert (watched.trouble, tiles(watched)["publications/s"]) == ("", "0")
    first.stop()
    watched.look()
    assert "trying again (for " in watched.trouble
    assert tiles(watched)["publications/s"] == "0"
    server_process(*SERVE, port=port)
    watched.look()
    assert (watched.trouble, tiles(watched)["deliveries/s"]) == ("", "-")
    watched.look()
    assert tiles(watched)["deliveries/s"] == "0"


class Album:
    """Keeps the pictures."""

    def __init__(self) -> None:
        self.shown: list[Picture] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, picture: Picture | None, trouble: str) -> None:
        assert (picture is not None, trouble) == (True, "")
        assert picture is not None
        self.shown.append(picture)


def test_keys() -> None:
    """Another order at once, a pause in which nobody asks, and the end."""
    documents = (json.dumps(document(uptime_seconds=float(number))).encode() for number in range(12, 15))
    album, keys = Album(), iter(["s", "", "p", "", "p", "", "q"])
    with answering(200, lambda: next(documents)) as (url, _):
        watch(Remote(url), album, interval_seconds=60.0, wait=lambda _seconds: next(keys), keys=True)
    assert [one.head.partition("up ")[2][:2] for one in album.shown] == ["12", "12", "13", "13", "13", "13", "14"]
    assert [one.sort for one in album.shown] == ["lag"] + ["bytes"] * 6
    assert ["paused" in one.foot for one in album.shown] == [False, False, False, True, True, False, False]


def test_it_asks_once_an_interval(server_process: Callable[..., ServerProcess]) -> None:
    """One picture each; what ends the waiting ends it."""
    server = server_process(*SERVE)
    stream, waited = io.StringIO(), list[float]()

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            raise StoppedError

    with pytest.raises(StoppedError):
        watch(Remote(f"http://127.0.0.1:{server.port}"), Lines(stream), interval_seconds=0.25, wait=wait)
    assert waited == [0.25] * 3
    assert stream.getvalue().count("Fanwise 0.1.0 on") == 3


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, b"", ForeignError),
        (401, b"", KeyRefusedError),
        (200, b'{"version": 1}', ForeignError),
        (200, b'{"version": 1, "at": "now", "server": [], "state": {}}', ForeignError),
        (503, b"", UnreachableError),
    ],
)
def test_what_is_no_server_is_not_watched(status: int, body: bytes, error: type[Exception]) -> None:
    """Nothing is drawn: the sentence has the terminal to itself. A server that is full is asked again, if not once."""
    stream = io.StringIO()
    with answering(status, body) as (url, _):
        with pytest.raises(error):
            glance(Remote(url), Lines(stream), interval_seconds=0, wait=nothing)
        watched = Watch(Remote(url))
        if error is UnreachableError:
            watched.look()
            assert "trying again" in watched.trouble
        else:
            with pytest.raises(error):
                watched.look()
    assert stream.getvalue() == ""


def test_a_long_value_is_cut() -> None:
    """What somebody else's server says does not flood a terminal, and does nothing to it."""
    body = json.dumps(document(at="x\x1b" * 100_000)).encode()
    with answering(200, body) as (url, _), pytest.raises(ForeignError, match="GET /stats looks different") as caught:
        Watch(Remote(url)).ask()
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()
