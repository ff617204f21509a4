"""What hostile peers send: one plan per row of the table in docs/operations/security.md.

    python -m tests.system.hostile.attackers NAME PORT [--seconds S] [--connections N] [--again]

prints `sending` when the connections are open, and a line of JSON at its end.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from itertools import islice, product
from string import ascii_lowercase, digits

from .sender import NUMBER, Attack, Plan, Step

TEXT, CONTINUATION, PING, PONG = 0x1, 0x0, 0x9, 0xA
KEY = "a-key-of-hostile-tests"
OPEN = b"\r\n\r\n"  # the end of the answer to a handshake
WELCOME = b'"welcome"'
SENDING = "sending"  # printed when the connections are open
_ENDLESS = 200_000_000
_KIB, _MIB = 1024, 1024 * 1024


def frame(opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    """A frame with a mask of zeros, which leaves the payload as it is (RFC 6455 section 5.2)."""
    head = bytes([0x80 * final | opcode])
    if len(payload) < 126:
        head += bytes([0x80 | len(payload)])
    elif len(payload) < 65_536:
        head += b"\xfe" + len(payload).to_bytes(2)
    else:
        head += b"\xff" + len(payload).to_bytes(8)
    return head + bytes(4) + payload


def request(
    method: str, path: str, *lines: str, body: bytes = b"", host: str = "127.0.0.1", version: str = "1.1"
) -> bytes:
    """A request with `Host`, `lines` and, where there is a body, its length."""
    length = [f"Content-Length: {len(body)}"] if body else []
    head = "\r\n".join([f"{method} {path} HTTP/{version}", f"Host: {host}", *lines, *length])
    return head.encode() + b"\r\n\r\n" + body


def handshake(
    *lines: str, path: str = "/ws?channel=attack", number: int = 13, host: str = "127.0.0.1", version: str = "1.1"
) -> bytes:
    """A WebSocket handshake (RFC 6455 section 4.1)."""
    return request(
        "GET",
        path,
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Sec-WebSocket-Version: {number}",
        *lines,
        host=host,
        version=version,
    )


def flood(unit: bytes, first: bytes = b"", *, unread: bool = False) -> Plan:
    """A WebSocket that sends `first`, and then `unit` again and again."""
    steps = (Step(handshake()), Step(first or unit, awaits=OPEN), Step(unit, times=_ENDLESS // len(unit)))
    return Plan(steps, read_bytes_per_second=0 if unread else float("inf"))


def once(data: bytes, *more: Step, connections: int = 1) -> Plan:
    """Sends `data`, and waits for the answer."""
    return Plan((Step(data), *more), connections=connections, quiet_seconds=0.2)


def waiting(*steps: Step) -> Plan:
    """Connections that do nothing more after `steps`."""
    return Plan(steps, connections=285, seconds=15.0)


def many_keys(count: int) -> bytes:
    """A frame with a publish operation that has `count` unknown fields."""
    pairs = [f'"{first}{second}' for first, second in product(ascii_lowercase + digits, repeat=2)]
    unknown = ",".join(islice((f'{pair}{last}":0' for pair in pairs for last in ascii_lowercase + digits), count))
    return frame(TEXT, f'{{"op":"publish","channel":"attack","data":0,{unknown}}}'.encode())


def many_channels() -> bytes:
    """A batch for 500 channels, which are those of a number."""
    entries = [{"channel": f"many/{NUMBER.decode()}/{number}", "data": 0} for number in range(500)]
    return request("POST", "/publish", "Content-Type: application/json", body=json.dumps(entries).encode())


def authenticating(token: bytes) -> Plan:
    """100 connections that send a token again and again, each time with another number in it."""
    op = frame(TEXT, b'{"op":"authenticate","token":"%b"}' % token)
    steps = (Step(handshake(_JSON)), Step(op, times=_ENDLESS // len(op), numbered=True, awaits=WELCOME))
    return Plan(steps, connections=100)


_JSON = "Sec-WebSocket-Protocol: fanwise.v1"
# {"alg":"HS256"} and {"sub":"eve","exp":4102444800}, with a signature of as many bytes as it takes.
_FORGED = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJldmUiLCJleHAiOjQxMDI0NDQ4MDB9." + NUMBER + b"A" * 36
_OFFERS = ", ".join(f"fanwise.token.{number}" for number in range(100))
_HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
_CHUNKED = request("POST", "/publish/attack", "Transfer-Encoding: chunked", "Trailer: X-API-Key")
_SUBSCRIBE = frame(TEXT, b'{"op":"subscribe","channel":"stats"}')
_EVIL = ("evil.example", "Origin: http://evil.example")
# Each of these characters takes six in JSON.
_HISTORY = request("POST", "/publish/history", "Content-Type: text/plain", body=b"\x01" * 4_000)

ATTACKS: dict[str, Plan] = {
    # Frames, as fast as the socket takes them.
    "pings of 0 bytes": flood(frame(PING)),
    "pings of 125 bytes": flood(frame(PING, bytes(125))),
    "pongs": flood(frame(PONG)),
    "empty fragments": flood(frame(CONTINUATION, final=False), frame(TEXT, final=False)),
    "fragments of 1 byte": flood(frame(CONTINUATION, b"x", final=False), frame(TEXT, b"x", final=False)),
    "fragments of 2 bytes, then pings": Plan(
        (
            Step(handshake()),
            Step(frame(TEXT, b"xx", final=False), awaits=OPEN),
            Step(frame(CONTINUATION, b"xx", final=False), times=195_000),
            Step(frame(PING), times=1_000, every_seconds=0.01),
        )
    ),
    "fragments, 900 a second": Plan(
        (
            Step(handshake()),
            Step(frame(TEXT, b"x", final=False), awaits=OPEN),
            Step(frame(CONTINUATION, b"x", final=False) * 90, times=100, every_seconds=0.1),
        ),
        seconds=12.0,
    ),
    "a message without an end": Plan(
        (Step(handshake()), Step(frame(TEXT, bytes(60_000), final=False), awaits=OPEN)),
        seconds=40.0,
        pongs=True,
    ),
    "texts of 0 bytes": flood(frame(TEXT)),
    "texts of 1 byte": flood(frame(TEXT, b"x")),
    "texts of 64 KiB, unread": flood(frame(TEXT, b"x" * 65_000), unread=True),
    "a publisher of 64 KiB": flood(frame(TEXT, b"x" * 65_000)),
    "readers of 2 MB/s": Plan((Step(handshake()),), connections=100, seconds=10.0, read_bytes_per_second=2e6),
    # Requests that do not come.
    "silent connections": waiting(),
    "half a request line": waiting(Step(b"GET /hea")),
    "half a head": waiting(Step(_HEAD + b"A: b")),
    "a dripped head": waiting(Step(_HEAD), Step(b"A: b\r\n", times=50, every_seconds=0.5)),
    "a body that never comes": waiting(Step(request("POST", "/publish/attack", "Content-Length: 100"))),
    # Heads and trailers that do not end.
    "upgrades with a long header": once(handshake("A: " + "x" * 9_000)),
    "upgrades with 1,000 headers": once(handshake(*["A: b"] * 1_000)),
    "upgrades with a long URL": once(handshake(path="/ws?channel=" + "x" * 20_000)),
    "64 MiB of one header": once(_HEAD + b"A: ", Step(b"x" * _KIB, times=64 * _KIB)),
    "64 MiB of small headers": once(_HEAD, Step(b"A: b\r\n", times=64 * _MIB // 6)),
    "60 connections with 2 MiB of headers": once(
        _HEAD, Step(b"A: b\r\n", times=2 * _MIB // 6), connections=60
    )._replace(seconds=20.0, quiet_seconds=float("inf")),  # all are closed: silence on a busy machine is no end
    "15 MiB of trailers": once(_CHUNKED + b"1\r\nx\r\n0\r\n", Step(b"A: b\r\n", times=15 * _MIB // 6)),
    "a key in a trailer": once(_CHUNKED + f"1\r\nx\r\n0\r\nX-API-Key: {KEY}\r\n\r\n".encode()),
    "X-Forwarded-For of 1 MiB": once(handshake("X-Forwarded-For: " + "192.0.2.1, " * 95_000)),
    # Much for little.
    "840,000 pipelined requests": Plan((Step(_HEAD + b"\r\n", times=840_000),), seconds=8.0),
    "a full log": Plan((Step(_HISTORY, times=1_000),), seconds=20.0, quiet_seconds=0.5),
    "history 100 times, unread": Plan(
        (Step(request("GET", "/channels/history/history?limit=1000")),),
        connections=100,
        seconds=25.0,
        read_bytes_per_second=0,
    ),
    "45,000 unknown keys": Plan(
        (
            Step(handshake(_JSON)),
            Step(b"", times=20, every_seconds=0.05, awaits=WELCOME, makes=partial(many_keys, 45_000)),
        ),
        seconds=4.0,
        quiet_seconds=0.2,
    ),
    "110,000 entries in a batch": Plan(
        (
            Step(
                request("POST", "/publish", "Content-Type: application/json", body=b"[" + b"0," * 109_999 + b"0]"),
                times=10,
                every_seconds=0.1,
            ),
        ),
        seconds=4.0,
        quiet_seconds=0.5,
    ),
    "65,536 Idempotency-Keys": Plan(
        (
            Step(
                request("POST", "/publish/attack", f"Idempotency-Key: {'x' * 200}{NUMBER.decode()}", body=b"x"),
                times=65_536,
                numbered=True,
            ),
        ),
        seconds=120.0,
        quiet_seconds=5.0,
    ),
    "100,000 channels": Plan(
        (Step(b"", times=200, numbered=True, makes=many_channels),), seconds=60.0, quiet_seconds=3.0
    ),
    "lists of 10,000 channels": Plan(
        (Step(request("GET", "/channels?limit=10000"), times=1_000),), connections=8, seconds=5.0
    ),
    "64 watchers": Plan(
        (Step(handshake(_JSON, path="/live")), Step(_SUBSCRIBE, awaits=WELCOME)), connections=64, seconds=6.0
    ),
    "one more watcher": Plan((Step(handshake(_JSON, path="/live")),), seconds=1.0),
    "512 silent connections": Plan((), connections=512, seconds=6.0),
    # Tokens.
    "tokens that are none": authenticating(NUMBER + b".y.z"),
    "tokens of 60 KB": authenticating(NUMBER + b"x" * 60_000),
    "forged tokens": authenticating(_FORGED),
    "100 tokens in a handshake": Plan(
        (Step(handshake(f"{_JSON}, {_OFFERS}")),), connections=100, quiet_seconds=0.2, again=True
    ),
    # Upgrades that are none, left open.
    "an upgrade with a body": once(handshake("Content-Length: 10") + b"hello"),
    "an upgrade with a bad header": once(handshake("Sec-WebSocket-Extensions: ;;;=")),
    # What has one right answer.
    "DNS rebinding: probe": once(request("GET", "/channels", _EVIL[1], host=_EVIL[0])),
    "DNS rebinding: publish": once(request("POST", "/publish/attack", _EVIL[1], host=_EVIL[0], body=b"x")),
    "DNS rebinding: delete": once(request("DELETE", "/clients/0123456789abcdef", _EVIL[1], host=_EVIL[0])),
    "DNS rebinding: WebSocket": once(handshake(_EVIL[1], host=_EVIL[0])),
    "a line end in a channel's name": once(request("POST", "/publish/abc%0a", body=b"x")),
    "the wrong version of WebSocket": once(handshake(number=12)),
    "an upgrade over HTTP/1.0": once(handshake(version="1.0")),
    "two hosts": once(request("GET", "/healthz", "Host: other.example")),
    "a request cut in its body": Plan(
        (Step(request("POST", "/publish/attack", "Content-Length: 100") + b"x"),), hangs_up=True, seconds=3.0
    ),
}


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=ATTACKS)
    parser.add_argument("port", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--connections", type=int)
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    plan = ATTACKS[options.name]
    plan = plan._replace(
        seconds=options.seconds or plan.seconds,
        connections=options.connections or plan.connections,
        again=options.again,
    )
    report = Attack(plan, options.port, on_open=lambda: tell(SENDING)).run()
    tell(json.dumps(report))


if __name__ == "__main__":
    main()
