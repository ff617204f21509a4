from __future__ import annotations

from collections.abc import Callable

import pytest

from fanwise.tools.doctor.findings import Level
from fanwise.tools.doctor.handshake import (
    collector,
    deflate,
    event_loop,
    event_streams,
    fast_path,
    look_at_clients,
    look_at_processes,
    sweeps,
)
from fanwise.tools.doctor.probe import Probe
from fanwise.tools.remote import Remote
from fanwise.transport.collector import GC_THRESHOLDS

from ...support.processes import ServerProcess

UVICORN = ("-m", "uvicorn", "fanwise.app:app", "--port", "{port}")
OURS = ("--ws", "fanwise.protocol:FanwiseProtocol", "--http", "fanwise.protocol:FanwiseHttpProtocol")


@pytest.mark.parametrize(
    ("path", "level", "stream_level"),
    [("direct", Level.OK, Level.OK), ("transport", Level.WARN, Level.WARN), ("asgi", Level.FAIL, Level.WARN)],
)
def test_how_the_bytes_get_to_the_sockets(path: str, level: Level, stream_level: Level) -> None:
    """Straight, through the transport, or the slow way, which is a failure for WebSockets; with the fix."""
    found, stream = fast_path(path), event_streams(path)
    assert (found.level, stream.level) == (level, stream_level)
    if path == "asgi":
        assert "--ws fanwise.protocol:FanwiseProtocol" in found.fix
        assert "--http fanwise.protocol:FanwiseHttpProtocol" in stream.fix


def test_why_sweeps_take_more_calls() -> None:
    """A container often forbids io_uring: no failure, and told with its price."""
    assert sweeps("io_uring", "").found.startswith("io_uring")
    found = sweeps("write", "kernel.io_uring_disabled is 2")
    assert found.level is Level.OK
    assert "kernel.io_uring_disabled is 2" in found.found


@pytest.mark.parametrize(
    ("accepted", "path", "level"),
    [
        ("", "direct", Level.OK),
        ("", "asgi", Level.OK),
        ("permessage-deflate; server_max_window_bits=12", "asgi", Level.FAIL),
        ("permessage-deflate", "direct", Level.FAIL),
        ("permessage-deflate; server_no_context_takeover", "direct", Level.FAIL),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", "direct", Level.OK),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", "asgi", Level.FAIL),
    ],
)
def test_deflate(accepted: str, path: str, level: Level) -> None:
    """Memory, and a compression of each message, for each client; with our protocol class neither."""
    assert deflate(accepted, path).level is level


def test_the_loop() -> None:
    """Whatever is not uvloop is slower; a name may be anything."""
    assert event_loop("uvloop").level is Level.OK
    assert event_loop("asyncio").level is Level.WARN
    assert event_loop("\x1b[2J").found.isprintable()


@pytest.mark.parametrize(
    ("thresholds", "level"),
    [
        (GC_THRESHOLDS, Level.OK),
        ((0, 10, 10), Level.OK),
        ((700, 10, 10), Level.WARN),
        ((2000, 10, 0), Level.WARN),
    ],
    ids=["fanwise serve", "off", "Python up to 3.13", "Python 3.14"],
)
def test_the_collector(thresholds: tuple[int, ...], level: Level) -> None:
    """As Python sets it, it walks all connections too often."""
    assert collector(thresholds).level is level


@pytest.mark.parametrize(
    ("args", "paths", "deflated"),
    [
        (("-m", "fanwise", "serve", "--port", "{port}"), ("direct", "direct"), False),
        ((*UVICORN, *OURS, "--ws-per-message-deflate", "false"), ("direct", "direct"), False),
        ((*UVICORN, "--ws-per-message-deflate", "true"), ("asgi", "asgi"), True),
    ],
    ids=["fanwise serve", "uvicorn with our classes", "plain uvicorn"],
)
def test_what_real_servers_show(
    server_process: Callable[..., ServerProcess], args: tuple[str, ...], paths: tuple[str, str], deflated: bool
) -> None:
    """Their clients' paths, and whether they take an offer of compression; nobody is left behind."""
    server = server_process(*args)
    probe = Probe(Remote(f"http://127.0.0.1:{server.port}"))
    path, stream_path, accepted = look_at_clients(probe)
    assert (path, stream_path) == paths
    assert ("permessage-deflate" in accepted) is deflated
    assert set(look_at_processes(probe.remote)) == {server.pid}
