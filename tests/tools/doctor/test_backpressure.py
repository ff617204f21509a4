from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fanwise.tools.doctor import backpressure
from fanwise.tools.doctor.backpressure import Measured, is_stuck, judge, measure, starved
from fanwise.tools.doctor.findings import Level
from fanwise.tools.doctor.probe import Probe
from fanwise.tools.remote import Remote

from ...support.processes import ServerProcess

SERVE = ("-m", "fanwise", "serve", "--port", "{port}")


def measured(**changes: Any) -> Measured:
    fields = {
        "published": 11,
        "noticed": True,
        "kernel_bytes": 169_000,
        "user_bytes": 11_300,
        "reader_bytes": 115_000,
        "user_bytes_known": True,
        "received": 11,
        "slowest_seconds": 0.00025,
    }
    return Measured(**{**fields, **changes})


def tried(server: ServerProcess, *, message_bytes: int = 16_384) -> Measured:
    found = measure(Probe(Remote(f"http://127.0.0.1:{server.port}")), message_bytes=message_bytes)
    assert isinstance(found, Measured)
    return found


def test_a_healthy_server_notices_soon(server_process: Callable[..., ServerProcess]) -> None:
    """After what two kernels take; the client that reads gets everything; what is told adds up."""
    found = tried(server_process(*SERVE))
    assert found.noticed
    assert found.received == found.published
    assert 30_000 < found.hidden_bytes <= 1_000_000
    assert 0 < found.user_bytes < 65_536
    assert found.reader_bytes is not None
    assert 0 < found.reader_bytes <= found.kernel_bytes
    assert found.hidden_bytes <= found.published * (16_384 + 4)
    assert judge(found).level is Level.OK


def test_sockets_that_swallow_everything(server_process: Callable[..., ServerProcess]) -> None:
    """Without TCP_NOTSENT_LOWAT megabytes hide in the kernel: a warning, with the fix."""
    found = tried(server_process(*SERVE, "--socket-unsent-bytes", "100000000"))
    assert found.noticed
    assert found.kernel_bytes > 1_000_000
    assert found.received == found.published
    assert judge(found).level > Level.OK
    assert "--socket-unsent-bytes" in judge(found).fix


def test_plain_asgi_does_not_tell_its_buffer(server_process: Callable[..., ServerProcess]) -> None:
    """What uvicorn holds counts among what the kernels hold."""
    found = tried(server_process("-m", "uvicorn", "fanwise.app:app", "--port", "{port}"))
    assert (found.noticed, found.user_bytes_known, found.user_bytes) == (True, False, 0)
    assert found.hidden_bytes > 1_000_000
    assert "in the kernels (" in judge(found).found
    assert "and in uvicorn's buffer" in judge(found).found


@pytest.mark.slow
def test_a_server_that_never_notices(
    server_process: Callable[..., ServerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: 16 MB go into its buffer (a user waits for 64), and the client still counts as ready."""
    monkeypatch.setattr(backpressure, "MOST_BYTES", 16_000_000)
    args = ("-m", "uvicorn", "fanwise.app:app", "--port", "{port}", "--ws", "tests.support.blind:BlindProtocol")
    found = tried(server_process(*args), message_bytes=60_000)
    assert not found.noticed
    assert found.hidden_bytes > 15_000_000
    assert found.received == found.published
    assert judge(found).level is Level.FAIL
    assert "the server had not noticed" in judge(found).found


def test_small_queues_and_messages(server_process: Callable[..., ServerProcess]) -> None:
    """The client that reads loses nothing either, and the other one is found behind, or closed as slow."""
    server = server_process(*SERVE, "--queue-messages", "1", "--max-message-bytes", "2000", "--queue-bytes", "2000")
    found = tried(server, message_bytes=2000)
    assert found.noticed
    assert found.received == found.published
    assert found.hidden_bytes <= 1_000_000


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, Level.OK),
        ({"kernel_bytes": 988_000}, Level.OK),
        ({"kernel_bytes": 4_100_000}, Level.WARN),
        ({"kernel_bytes": 20_000_000}, Level.FAIL),
        ({"kernel_bytes": 64_000_000, "noticed": False}, Level.FAIL),
    ],
)
def test_the_verdict(changes: dict[str, Any], level: Level) -> None:
    """Up to 1 MB is well, up to 8 MB poor, more is a failure."""
    found = judge(measured(**changes))
    assert found.level is level
    assert (found.fix == "") is (level is Level.OK)


@pytest.mark.parametrize(
    ("again", "stuck"),
    [
        ({}, True),
        ({"lag": 4}, False),
        ({"buffered_bytes": 10}, False),
        ({"state": "ready", "lag": 0, "buffered_bytes": 0}, False),
    ],
    ids=["as it was", "it was given something", "its socket took something", "it has caught up"],
)
def test_a_client_that_catches_up_is_not_stuck(again: dict[str, Any], stuck: bool) -> None:
    """Over plain ASGI each is behind for a moment; only who stays there is."""
    first = {"state": "behind", "lag": 5, "buffered_bytes": 100}
    assert is_stuck(first, {**first, **again}) is stuck


def test_a_client_that_was_ended_was_noticed() -> None:
    """It is not among the clients any more."""
    assert is_stuck({}, {})
    assert not is_stuck({"state": "ready"}, {"state": "ready"})


def test_it_says_where_the_bytes_are() -> None:
    """In numbers, with what the other client got meanwhile."""
    assert judge(measured()).found == (
        "180 KB vanish before the writer notices that a client does not read: 169 KB in the kernels (115 KB of it at "
        "the reader's side), 11.3 KB in user space; meanwhile a client that reads got 11 of 11 messages, the slowest "
        "in 0.25 ms"
    )
    assert "reader's side" not in judge(measured(reader_bytes=None)).found


def test_a_client_that_reads_and_gets_nothing_is_the_worst() -> None:
    """That is what all this is against."""
    found = starved(published=40, received=39, problem="no answer")
    assert found.level is Level.FAIL
    assert "another one got 39 of 40 messages: no answer" in found.found
