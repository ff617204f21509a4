from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fanwise.client import SyncClient
from fanwise.client.client import Gap, Position
from fanwise.client.errors import BatchError, ClientError, ClosedError, NotConnectedError, SubscribeError

from ..support.processes import ROOT, ServerProcess, clean_environ
from ..support.relay import Proxy


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """Each test has channels of its own."""
    process = ServerProcess("-m", "fanwise", "serve", "--port", "{port}")
    yield process
    process.close()


@pytest.fixture
def client(server: ServerProcess) -> Iterator[SyncClient]:
    with SyncClient(server.url("/ws"), proxy=None) as client:
        yield client


def connections(server: ServerProcess) -> int:
    return int(server.get("/clients").partition(b'"total":')[2].partition(b",")[0])


def test_what_is_published_comes(client: SyncClient) -> None:
    """Texts, JSON and bytes, with their positions; the iteration ends after a time without a message."""
    messages = client.subscribe("s/1", timeout_seconds=0.05)
    first = client.publish("s/1", "text")
    rest = client.publish_many("s/1", [{"a": 1}, b"\x00"], key="k")
    assert [(one.data, one.key) for one in messages] == [("text", None), ({"a": 1}, "k"), (b"\x00", "k")]
    assert messages.positions == {"s/1": rest[-1]}
    client.publish("s/1", "more")
    assert [one.data for one in messages] == ["more"]
    again = client.subscribe("s/1", since=first, timeout_seconds=0.05)
    assert [one.offset for one in again] == [2, 3, 4]


def test_many_messages(client: SyncClient) -> None:
    """More than go out at once, and than change threads at once, from a generator: in order, and none is left out."""
    with client.subscribe("s/2", "s/other") as messages:
        positions = client.publish_many("s/2", (number for number in range(1000)))
        assert [position.offset for position in positions] == [*range(1, 1001)]
        assert [messages.receive(10.0).data for _ in range(1000)] == [*range(1000)]
        with pytest.raises(TimeoutError):
            messages.receive(0.01)
    assert list(messages) == []
    with pytest.raises(ClosedError):
        messages.receive()


def test_errors_are_those_of_the_other_client(client: SyncClient) -> None:
    """And after each the client can be used."""
    with pytest.raises(BatchError, match="message 2") as caught:
        client.publish_many("s/3", [1, object(), 3])
    assert [type(one) for one in caught.value.results][:1] == [Position]
    with pytest.raises(SubscribeError, match="since and last"):
        client.subscribe("s/3", since=Position("e", 1), last=3)
    with pytest.raises(ValueError, match="one channel or more"):
        client.subscribe()
    with pytest.raises(ValueError, match="where several begin"):
        client.subscribe("a", "b", since=Position("e", 1))
    with pytest.raises(TypeError, match="plain functions"):
        SyncClient("ws://127.0.0.1/ws", on_gap=_wait)
    with pytest.raises(ValueError, match="API key"):
        SyncClient("ws://127.0.0.1/ws", api_key="a b")
    with SyncClient("ws://127.0.0.1:1/ws", acknowledge_seconds=0.01) as away, pytest.raises(NotConnectedError):
        away.publish("s/3", 1)
    assert client.publish("s/3", 4).offset > 0


async def _wait(_gap: Gap) -> None: ...


def test_a_lost_connection_is_resumed(server: ServerProcess) -> None:
    """What was published meanwhile comes, once and in order."""
    gaps: list[Gap] = []
    with (
        Proxy(server.port) as proxy,
        SyncClient(f"ws://127.0.0.1:{proxy.port}/ws", proxy=None, backoff_base_seconds=0.01, on_gap=gaps.append) as far,
        SyncClient(server.url("/ws"), proxy=None) as near,
    ):
        messages = far.subscribe("s/4")
        near.publish("s/4", 0)
        assert messages.receive(10.0).data == 0
        with proxy.down():
            near.publish_many("s/4", range(1, 10))
        assert [messages.receive(10.0).data for _ in range(9)] == [*range(1, 10)]
        assert gaps == []


def test_a_gap_comes_in_the_thread_that_iterates(client: SyncClient) -> None:
    """At its place, and the positions include it."""
    seen: list[Any] = []
    client.publish("s/5", 1)
    with SyncClient(client.url, proxy=None, on_gap=lambda gap: seen.append((gap, threading.current_thread()))) as other:
        messages = other.subscribe("s/5", since=Position("gone", 7), timeout_seconds=0.05)
        assert [message.offset for message in messages] == [1]
    ((gap, thread),) = seen
    assert (gap.reason, gap.first, gap.last, thread) == ("epoch", 1, 0, threading.current_thread())


def test_several_threads_at_once(client: SyncClient) -> None:
    """They publish over one connection; of one subscription each message goes to one of them."""
    with client.subscribe("s/6", timeout_seconds=0.2) as messages, ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(lambda: [message.data for message in messages]) for _ in range(3)]
        writers = [pool.submit(client.publish_many, "s/6", [f"{name}{n}" for n in range(50)]) for name in "abc"]
        assert len({position for writer in writers for position in writer.result()}) == 150
        taken = [data for reader in readers for data in reader.result()]
    assert Counter(taken) == Counter(f"{name}{n}" for name in "abc" for n in range(50))


def test_closing_while_a_thread_waits(client: SyncClient) -> None:
    """The iteration ends, quietly; whoever publishes afterwards hears of it."""
    messages = client.subscribe("s/7")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(list, messages)
        client.publish("s/7", 1)
        client.close()
        assert [message.data for message in reading.result()] in ([1], [])
    with pytest.raises(ClosedError):
        client.publish("s/7", 2)


def test_a_subscription_that_is_lost_sight_of(server: ServerProcess, client: SyncClient) -> None:
    """Its connection is closed, and so are those of a client that nobody closed."""
    first = client.publish("s/8", 1)
    client.publish("s/8", 2)
    before = connections(server)
    for _ in client.subscribe("s/8", since=first):
        break
    forgotten = SyncClient(client.url, proxy=None)
    forgotten.publish("s/8", 2)
    thread = forgotten._thread
    assert thread is not None
    del forgotten
    gc.collect()
    thread._thread.join()
    while connections(server) > before:  # the test's own limit ends a wait in vain
        pass


def test_a_function_that_fetches_tokens_may_block(server: ServerProcess) -> None:
    """It has a thread of its own, in which nothing of the client runs."""
    seen: list[threading.Thread] = []

    def token() -> str:
        seen.append(threading.current_thread())
        return "t"

    with SyncClient(server.url("/ws"), token=token, proxy=None) as client:
        client.publish("s/9", 1)
    assert [thread.name for thread in seen] == ["fanwise-token"]


FORK = """
import os, sys
from fanwise.client import SyncClient
from fanwise.client.errors import ClientError

client = SyncClient(sys.argv[1], proxy=None)
messages = client.subscribe("fork", timeout_seconds=5.0)
client.publish("fork", "before")
child = os.fork()
if child == 0:
    try:
        next(messages)
    except ClientError as error:
        assert "forked" in str(error), error
    client.publish("fork", "child")
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
client.publish("fork", "parent")
print(*(next(messages).data for _ in range(3)))
"""


def script(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-W", "error", "-c", code, *args]
    return subprocess.run(argv, cwd=ROOT, env=clean_environ(), capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_process_that_forks(server: ServerProcess) -> None:
    """The child publishes over a connection of its own, and takes nothing from the parent, whose own goes on."""
    done = script(FORK, server.url("/ws"))
    assert (done.stdout, done.returncode) == ("before child parent\n", 0), done.stderr


def test_a_program_that_exits_with_an_open_client(server: ServerProcess) -> None:
    """At once and quietly, and the server hears a proper end."""
    before = server.log
    code = """
import sys
from fanwise.client import SyncClient
client = SyncClient(sys.argv[1], proxy=None)
messages = client.subscribe("exit")
client.publish("exit", 1)
next(messages)
"""
    done = script(code, server.url("/ws"))
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert "1006" not in server.log.removeprefix(before)


def test_a_forked_subscription_is_refused(client: SyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error names what to do."""
    messages = client.subscribe("s/10")
    with monkeypatch.context() as patch:
        patch.setattr(messages._thread, "_process", -1)
        with pytest.raises(ClientError, match="subscribe again"):
            next(messages)
