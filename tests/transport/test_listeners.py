from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from fanwise.transport.listeners import open_listener, shown


def opened(uds: Path | None = None, fd: int | None = None) -> socket.socket:
    return open_listener(host="127.0.0.1", port=0, uds=None if uds is None else str(uds), fd=fd)


def test_an_address() -> None:
    """A free port of it; the same one twice is an error."""
    with opened() as one:
        one.listen()
        port = one.getsockname()[1]
        assert shown(one, scheme="http") == f"http://127.0.0.1:{port}"
        with pytest.raises(OSError, match="in use"):
            open_listener(host="127.0.0.1", port=port)
    with open_listener(host="::1", port=0) as six:
        assert shown(six, scheme="https") == f"https://[::1]:{six.getsockname()[1]}"


def test_a_path(tmp_path: Path) -> None:
    """One that somebody listens on is in use; one that was left behind is replaced; a file is left alone."""
    path = tmp_path / "s"
    with opened(path) as one:
        one.listen()
        assert shown(one, scheme="http") == f"unix:{path}"
        with pytest.raises(OSError, match="in use"):
            opened(path)
    with opened(path) as again:
        again.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(OSError, match="in use"):
        opened(file)
    assert file.read_text() == "mine"


def test_a_descriptor(tmp_path: Path) -> None:
    """Of any kind of stream socket, which stays open for its owner."""
    with opened(tmp_path / "s") as unix, opened() as tcp:
        for owner in (unix, tcp):
            with opened(fd=owner.fileno()) as ours:
                assert (ours.family, ours.getsockname()) == (owner.family, owner.getsockname())
            assert owner.getsockname()
    number = os.open(tmp_path, os.O_RDONLY)
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        with pytest.raises(OSError, match=f"descriptor {datagrams.fileno()} is a socket for datagrams"):
            opened(fd=datagrams.fileno())
        with pytest.raises(OSError, match=f"descriptor {number} is no socket"):
            opened(fd=number)
    os.close(number)
