"""Checks of a server's documents and handshakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..humanize import printable
from ..remote import Remote
from .findings import Finding, fail, ok, warn
from .probe import Probe

DIRECT: Final = "direct"
TRANSPORT: Final = "transport"
_OUR_WS: Final = "--ws fanwise.protocol:FanwiseProtocol"
_OUR_HTTP: Final = "--http fanwise.protocol:FanwiseHttpProtocol"
_SAMPLES: Final = 12  # of three workers, one hides among so many answers once in 100 times
_FULL_COLLECTIONS: Final = 100  # of the third threshold: what Python starts with is 10, `fanwise serve` 1,000


def event_loop(loop: str) -> Finding:
    """Checks which event loop runs."""
    name = "event loop"
    if loop == "uvloop":
        return ok(name, "uvloop")
    return warn(
        name,
        f"{printable(loop)}: uvloop takes about half of its time for the same",
        "pip install uvloop, and no --loop asyncio",
    )


def sweeps(name: str, why: str) -> Finding:
    """Returns how sweeps write to sockets."""
    if name == "io_uring":
        return ok("sweeps", "io_uring: one system call for up to 512 clients")
    return ok(
        "sweeps", f"{printable(name)}, a system call for each client ({printable(why)}): io_uring takes a sixth less"
    )


def collector(thresholds: Sequence[int]) -> Finding:
    """Checks whether full collections are rare. `thresholds`: of `gc.get_threshold()`; the first is 0 when off."""
    name, shown = "garbage collector", ", ".join(f"{threshold:,}" for threshold in thresholds)
    if not thresholds[0]:
        return ok(name, "off")
    if thresholds[-1] >= _FULL_COLLECTIONS:
        return ok(name, f"full collections are rare (thresholds {shown})")
    return warn(
        name,
        f"thresholds {shown}: a full collection walks every object of every connection, hundreds of milliseconds with "
        "10,000 clients",
        "run `fanwise serve`, or call fanwise.transport.collector.tune_gc() when the application has started",
    )


def fast_path(path: str) -> Finding:
    """Checks whether WebSockets are on the fast path."""
    return _path("fast path", path, slow=f"run `fanwise serve`, or uvicorn with {_OUR_WS}", kind="WebSockets are")


def event_streams(path: str) -> Finding:
    """Checks whether event streams are on the fast path: a warning at most, since only few clients use them."""
    fix = f"run `fanwise serve`, or uvicorn with {_OUR_HTTP}"
    found = _path("event streams", path, slow=fix, kind="event streams are")
    return warn(found.name, found.found, found.fix) if found.fix else found


def _path(name: str, path: str, *, slow: str, kind: str) -> Finding:
    if path == DIRECT:
        return ok(name, f"{kind} written straight to their sockets")
    if path == TRANSPORT:
        return warn(
            name,
            f"{kind} written through the transport, as TLS has to be: about twice the work for each client",
            "let a proxy in front speak TLS, and serve plain HTTP to it",
        )
    return fail(name, f"{kind} served over plain ASGI: each message is encoded and sent for each client", slow)


def deflate(accepted: str, path: str) -> Finding:
    """Checks whether permessage-deflate (RFC 7692) is on. `accepted` is the answer to an offer of it."""
    name = "deflate"
    if "permessage-deflate" not in accepted.lower():
        return ok(name, "permessage-deflate is not accepted")
    if path == DIRECT and all(f"{side}_no_context_takeover" in accepted for side in ("server", "client")):
        return ok(name, "permessage-deflate is accepted; no connection keeps memory for it")
    found = "permessage-deflate is accepted: 64 to 70 KiB of memory for each client, not 35"
    fix = "run `fanwise serve`, or uvicorn with --ws-per-message-deflate false"
    return fail(name, f"{found}, and a compression of each message for each client", fix)


def look_at_clients(probe: Probe) -> tuple[str, str, str]:
    """(path of a WebSocket, path of an event stream, what is answered to an offer of permessage-deflate)."""
    channel = probe.private_channel()
    with probe.websocket(deflate=True) as websocket, probe.event_stream(channel):
        accepted = websocket.response.headers.get("Sec-WebSocket-Extensions", "") if websocket.response else ""
        own = probe.subscribe(websocket, channel)
        clients = probe.await_clients(channel, count=2)
    path = clients.pop(own)["path"]
    (stream,) = clients.values()
    return path, stream["path"], accepted


def look_at_processes(remote: Remote) -> list[int]:
    """The processes that answer, each question over a connection of its own."""
    return [int(remote.stats()["server"]["pid"]) for _ in range(_SAMPLES)]
