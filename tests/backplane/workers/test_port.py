from __future__ import annotations

import errno
import socket

import pytest

from fanwise.backplane.workers.port import SharedPort


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_listeners_share_a_free_port(host: str) -> None:
    """Which port that is, is known before any of them listens."""
    port = SharedPort.reserve(host, 0)
    with port.listener() as one, port.listener() as other:
        for listener in (one, other):
            assert listener.getsockname()[1] == port.number > 0
            listener.listen()
        socket.create_connection((host, port.number)).close()
    port.close()


def test_another_launcher_does_not_join() -> None:
    """The kernel would give it half of the connections."""
    port = SharedPort.reserve("127.0.0.1", 0)
    with port.listener() as listener:
        listener.listen()
        with pytest.raises(OSError, match="in use") as raised:
            SharedPort.reserve("127.0.0.1", port.number)
    assert raised.value.errno == errno.EADDRINUSE
    port.close()


def test_a_reserved_port_gets_no_connection() -> None:
    """Nobody listens on it."""
    port = SharedPort.reserve("127.0.0.1", 0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port.number))
    port.close()
