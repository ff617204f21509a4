"""The listening socket: of an address, of a path, or of a descriptor that another program has opened."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

_MODE = 0o666  # the folder says who may connect


def open_listener(*, host: str, port: int, uds: str | None = None, fd: int | None = None) -> socket.socket:
    """Returns a bound stream socket that does not listen yet.

    Args:
        host: The address to listen on, unless a path or a descriptor is given.
        port: The port; 0 takes a free one.
        uds: The path of a Unix socket. A socket that nobody listens on any more is replaced.
        fd: The number of a descriptor that is a socket already, as systemd hands it down from 3 on.

    Raises:
        OSError: The address is in use or not allowed, or the descriptor is no stream socket. The text says which.
    """
    if fd is not None:
        return _inherited(fd)
    if uds is not None:
        return _bound_to(uds)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def shown(listener: socket.socket, *, scheme: str) -> str:
    """Returns where a socket listens: a URL, or `unix:PATH`."""
    name = listener.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{os.fsdecode(name)}"
    return url_on(*name[:2], scheme=scheme)


def url_on(host: str, port: int, *, scheme: str) -> str:
    """Returns the URL of a port of a host, which may be an IPv6 address."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _inherited(fd: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=os.dup(fd))
    except OSError as error:
        raise OSError(error.errno, f"descriptor {fd} is no socket: {error.strerror}") from error
    if sock.type != socket.SOCK_STREAM:
        sock.close()
        raise OSError(f"descriptor {fd} is a socket for datagrams")
    return sock


def _bound_to(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        if _is_left_behind(path):
            Path(path).unlink()
        sock.bind(path)
        Path(path).chmod(_MODE)
    except OSError:
        sock.close()
        raise
    return sock


def _is_left_behind(path: str) -> bool:
    """Returns whether a path is a socket on which nobody listens."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        if Path(path).is_socket():
            probe.setblocking(False)
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                return True
    return False
