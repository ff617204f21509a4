from __future__ import annotations

import asyncio
import resource
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from websockets.asyncio.client import connect as connect_to
from websockets.sync.client import connect

from fanwise.errors import SettingsError
from fanwise.serve import banner, check_exposure, raise_fd_limit, url_at
from fanwise.settings import load_settings

from ..broadcaster.test_heap import resident_bytes
from ..support.processes import ServerProcess, run

SERVERS = {
    "fanwise serve, uvloop": ["-m", "fanwise", "serve", "--port", "{port}", "--loop", "uvloop"],
    "fanwise serve, asyncio": ["-m", "fanwise", "serve", "--port", "{port}", "--loop", "asyncio"],
    "uvicorn, uvloop": ["-m", "uvicorn", "fanwise.app:app", "--port", "{port}", "--loop", "uvloop"],
    "uvicorn, asyncio": ["-m", "uvicorn", "fanwise.app:app", "--port", "{port}", "--loop", "asyncio"],
    "uvicorn with our protocol class": [
        "-m", "uvicorn", "fanwise.app:app", "--port", "{port}", "--ws", "fanwise.protocol:FanwiseProtocol",
    ],
}  # fmt: skip


@pytest.mark.parametrize("args", SERVERS.values(), ids=SERVERS)
def test_the_story_of_a_b_and_c(server_process: Callable[..., ServerProcess], args: list[str]) -> None:
    """The plain dialect, as a user runs it: a process of its own, real sockets, both loops."""
    server = server_process(*args, whole="uvloop" in args)  # one by each command: the others are forks
    url = server.url("/ws?token=secret")
    with connect(url) as b:
        with connect(url) as a:
            a.send("Hello")
            assert [a.recv(), b.recv()] == ["Message: Hello"] * 2
            b.send("Hi")
            assert [a.recv(), b.recv()] == ["Message: Hi"] * 2
        b.send("Bye")
        assert b.recv() == "Message: Bye"
    with connect(url) as c:
        c.send(b"Anybody?")
        assert c.recv() == b"Anybody?"
    assert server.stop() in (0, -15)  # uvicorn raises the signal again when it has stopped
    fast = "FanwiseProtocol" in args[-1] or "serve" in args
    assert ("plain ASGI" in server.log) is not fast
    assert ("token=secret" in server.log) is not fast, "our protocol class keeps query strings out of the log"
    assert "Traceback" not in server.log


def test_the_banner_tells_what_is_in_force(server_process: Callable[..., ServerProcess]) -> None:
    """In at most twelve lines, before the first client; flags and variables have been read."""
    server = server_process(
        "-m", "fanwise", "serve", "--port", "{port}", "--queue-messages", "77", FANWISE_MAX_CLIENTS="88"
    )
    server.wait_for_log("Application startup complete")
    for fact in (
        f"http://127.0.0.1:{server.port}",
        "77 messages",
        "disconnect",
        "88",
        "file descriptors",
        "fast path  yes",
    ):
        assert fact in server.log


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_banner_is_short(host: str) -> None:
    """At most twelve lines of at most 100 characters, with a URL that can be opened."""
    settings = load_settings(host=host, read="key", api_key="correct-horse", backplane="redis://127.0.0.1")
    lines = banner(settings, url=url_at(settings, 8000), fd_limit=128)
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 100
    assert lines[0].endswith("open http://[::1]:8000" if ":" in host else "open http://127.0.0.1:8000")
    assert any("WARNING" in line for line in lines)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1, with its key, and a context that trusts it."""
    authority, file, context = trustme.CA(), tmp_path / "server.pem", ssl.create_default_context()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file)
    authority.configure_trust(context)
    return file, context


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_tls(server_process: Callable[..., ServerProcess], certificate: tuple[Path, ssl.SSLContext], loop: str) -> None:
    """Under TLS no descriptor is written to: everything goes through the transport, and arrives the same."""
    file, context = certificate
    server = server_process(
        "-m",
        "fanwise",
        "serve",
        "--port",
        "{port}",
        "--loop",
        loop,
        "--ssl-certfile",
        str(file),
        "--ssl-keyfile",
        str(file),
    )
    url = server.url("/ws").replace("ws:", "wss:")

    async def talk() -> None:  # `websockets.sync` reads and writes in two threads, which OpenSSL's connections forbid
        async with connect_to(url, ssl=context, proxy=None) as a, connect_to(url, ssl=context, proxy=None) as b:
            for message in [f"{number} {'x' * 50_000}" for number in range(50)]:
                await a.send(message)
                assert [await a.recv(), await b.recv()] == [f"Message: {message}"] * 2

    asyncio.run(talk())
    assert "fast path  no: TLS" in server.log
    assert "Traceback" not in server.log


def test_a_taken_port_is_an_error(server_process: Callable[..., ServerProcess]) -> None:
    """The process ends with a status of its own and names the address."""
    server = server_process("-m", "fanwise", "serve", "--port", "{port}")
    with pytest.raises(RuntimeError, match=r"(?si)ended with 3.*address already in use"):
        server_process("-m", "fanwise", "serve", "--port", str(server.port))


TWO_BOUND = """
import socket
from fanwise.cli.main import main
first, second = (socket.socket() for _ in range(2))
for one in (first, second):
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
first.bind(("127.0.0.1", 0))
second.bind(first.getsockname())
first.listen()
main(["serve", "--fd", str(second.fileno())])
"""


def test_a_port_that_is_taken_after_it_was_bound_is_an_error() -> None:
    """Two sockets may be bound to one port, and one of them may listen."""
    done = run("-c", TWO_BOUND)
    assert done.returncode == 3
    assert "Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_io_uring_that_cannot_be_had_is_an_error() -> None:
    """Named with the setting; without a traceback."""
    forbid = "import fanwise.transport.sweep_writer as w; w.RingWriter.__init__ = lambda _: open('/nonexistent')"
    done = run("-c", f"{forbid}; from fanwise.cli.main import main; main(['serve', '--sweep', 'uring'])")
    assert done.returncode == 2
    assert "FANWISE_SWEEP (--sweep) is 'uring': io_uring cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


FRAGMENTED = """
import fanwise.broadcaster.heap
from fanwise.cli.main import main
fanwise.broadcaster.heap.TRIM_SECONDS = 0.1
blocks = [bytearray(100_000) for _ in range(2_000)]
kept = blocks[::100]
blocks.clear()
main(["serve", "--port", "{port}"])
"""


def test_a_server_gives_free_memory_back(server_process: Callable[..., ServerProcess]) -> None:
    """By itself, and while it serves: of 200 MB below blocks in use, hardly any is left."""
    server = server_process("-c", FRAGMENTED)
    while resident_bytes(server.pid) > 150_000_000:
        assert server.get("/healthz").startswith(b"HTTP/1.1 200")


WARM = """
import re
import fanwise.serve, fanwise.transport.server
from fanwise.cli.main import main

def told(pattern, flags, compile=re._compiler.compile):
    print("compiled", pattern, flush=True)
    return compile(pattern, flags)

fanwise.transport.server.tune_gc = lambda: setattr(re._compiler, "compile", told)  # the last step before it accepts
main(["serve", "--port", "{port}"])
"""


def test_a_first_request_finds_what_it_needs(server_process: Callable[..., ServerProcess]) -> None:
    """No pattern is compiled for it: those that FastAPI needs held everybody for 20 ms."""
    server = server_process("-c", WARM)
    assert server.get("/channels").startswith(b"HTTP/1.1 200 ")
    assert server.get("/stats").startswith(b"HTTP/1.1 200 ")
    assert "compiled" not in server.log


def test_as_many_descriptors_as_the_system_gives() -> None:
    """The soft limit is raised to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert raise_fd_limit() == hard
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_it_does_not_let_everybody_publish_by_accident() -> None:
    """On an address that others can reach it wants a key, or to be told that it is meant."""
    with pytest.raises(SettingsError, match="FANWISE_API_KEY, or say --open"):
        check_exposure(load_settings(host="0.0.0.0"))
    for allowed in ({"api_key": "correct-horse"}, {"open": True}, {"host": "::1"}):
        check_exposure(load_settings(**{"host": "0.0.0.0", **allowed}))
