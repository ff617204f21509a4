"""A server that runs on loopback, and the clients of a test; what is asserted of both.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, TypeVar

from anyio.from_thread import BlockingPortal

from ..embedding import Broadcaster
from .clients import PausingClient, ReadingClient, SlowClient, StalledClient, TestingClient
from .dropped import CAUSES, cause_of, check_cause, why_not
from .isolation import Isolation, Probe, check
from .watch import LoopWatch

Value = TypeVar("Value")
AnyClient = TypeVar("AnyClient", bound=TestingClient)
HOST: Final = "127.0.0.1"
_LOOK_SECONDS: Final = 0.01
_TURNS: Final = 8
_READERS: Final = 2


class Server:
    """A server that runs, and the clients of a test. All methods may be called in any thread but the server's.

    Args:
        port: On 127.0.0.1.
        portal: The way to its event loop.
        broadcaster: The application's; None: unknown.

    Attributes:
        port: On 127.0.0.1.
        clients: The clients that were connected here and are not closed yet.
    """

    def __init__(self, port: int, portal: BlockingPortal, broadcaster: Broadcaster | None) -> None:
        self.port = port
        self.clients: list[TestingClient] = []
        self._portal = portal
        self._broadcaster = broadcaster

    @property
    def broadcaster(self) -> Broadcaster:
        """The application's broadcaster; most of its methods belong to the server's thread: see `call` and `run`.

        Raises AssertionError if it is unknown.
        """
        __tracebackhide__ = True
        if self._broadcaster is None:
            raise AssertionError("this asks for the application's broadcaster: serving(app, broadcaster=...)")
        return self._broadcaster

    def url(self, path: str = "/ws", *, scheme: str = "ws") -> str:
        """Returns the URL of a path: "ws://127.0.0.1:8000/ws"."""
        return f"{scheme}://{HOST}:{self.port}{path}"

    def call(self, function: Callable[..., Value], *args: Any) -> Value:
        """Returns what a synchronous function returns, called on the server's event loop."""
        return self._portal.call(function, *args)

    def run(self, coroutine: Coroutine[Any, Any, Value]) -> Value:
        """Returns what a coroutine returns, run on the server's event loop."""

        async def wrapped() -> Value:
            return await coroutine

        return self._portal.call(wrapped)

    def wait_until(self, condition: Callable[[], bool], *, within_seconds: float = 5.0) -> None:
        """Waits until `condition` holds, which is called on the server's event loop again and again.

        Raises AssertionError if the time is up.
        """
        __tracebackhide__ = True
        deadline = time.monotonic() + within_seconds
        while not self._portal.call(condition):
            if time.monotonic() > deadline:
                raise AssertionError(f"the condition did not hold within {within_seconds:g} s")
            time.sleep(_LOOK_SECONDS)

    def reading_client(self, path: str = "/ws", **options: Any) -> ReadingClient:
        """Connects a client that reads at once. `options`: those of `TestingClient`."""
        __tracebackhide__ = True
        return self._keep(ReadingClient(self.url(path), on_close=self._forget, **options))

    def stalled_client(self, path: str = "/ws", **options: Any) -> StalledClient:
        """Connects a client that reads nothing."""
        __tracebackhide__ = True
        return self._keep(StalledClient(self.url(path), on_close=self._forget, **options))

    def slow_client(self, path: str = "/ws", *, rate: float, **options: Any) -> SlowClient:
        """Connects a client that reads `rate` bytes per second."""
        __tracebackhide__ = True
        return self._keep(SlowClient(self.url(path), rate=rate, on_close=self._forget, **options))

    def pausing_client(self, path: str = "/ws", *, seconds: float, **options: Any) -> PausingClient:
        """Connects a client that reads nothing for `seconds`, and all from then on."""
        __tracebackhide__ = True
        return self._keep(PausingClient(self.url(path), seconds=seconds, on_close=self._forget, **options))

    def vanishing_client(self, path: str = "/ws", **options: Any) -> ReadingClient:
        """Connects a client, which is gone without a closing handshake when this returns."""
        __tracebackhide__ = True
        client = self.reading_client(path, **options)
        client.vanish()
        return client

    def burst_publisher(self, messages: int = 1000, *, size: int = 100, channel: str = "lobby") -> list[str]:
        """Publishes numbered texts of `size` bytes as fast as `Broadcaster.publish` lets it; returns them."""
        __tracebackhide__ = True
        texts = [f"{number:08}".ljust(size, "x") for number in range(messages)]
        broadcaster = self.broadcaster

        async def publish() -> None:
            for text in texts:
                await broadcaster.publish(channel, text)

        self._portal.call(publish)
        return texts

    def assert_isolated(
        self,
        path: str = "/ws",
        *,
        p99_ms: float,
        channel: str | None = None,
        publish: Callable[[str], object] | None = None,
        message: Callable[[str], str] = str,
        publications: int = 200,
        per_second: float = 200.0,
        size: int = 16_384,
        within_seconds: float = 5.0,
        **options: Any,
    ) -> Isolation:
        """Asserts that publications reach new clients that read within `p99_ms`, and returns what was measured.

        Args:
            path: Of two clients that read.
            p99_ms: The most that 99 of 100 deliveries may take, from when their publication was due.
            channel: Where the broadcaster publishes; None: one of the clients sends each text.
            publish: Called with each text, in place of both.
            message: Makes of a text what the client sends.
            publications: How many texts.
            per_second: Their pace.
            size: Of a text, in bytes.
            within_seconds: How long after the last publication all may have come.
            options: Those of `TestingClient`, for both clients.

        Raises AssertionError, which says what was seen and what is allowed.
        """
        __tracebackhide__ = True
        beside = [client for client in self.clients if client.misbehaves]
        with ExitStack() as stack, self._watching() as watch:
            near = [stack.enter_context(self.reading_client(path, **options)) for _ in range(_READERS)]
            sender = publish or self._publisher(near[0], channel, message, within_seconds)
            probe = Probe(sender, near, watch, size=size, per_second=per_second)
            seen = probe.measure(publications, within_seconds=within_seconds)
        check(seen, p99_ms=p99_ms, readers=near, beside=beside)
        return seen

    @contextmanager
    def _watching(self) -> Iterator[LoopWatch]:
        """Watches the server's event loop while the context lasts."""
        watch = LoopWatch()
        self._portal.call(watch.start)
        try:
            yield watch
        finally:
            self._portal.call(watch.stop)

    def _publisher(
        self, client: TestingClient, channel: str | None, message: Callable[[str], str], within_seconds: float
    ) -> Callable[[str], object]:
        """Returns what publishes a text: through the broadcaster, or through `client` where there is no channel."""
        if channel is None:
            return lambda text: client.send(message(text), within_seconds=within_seconds)
        broadcaster = self.broadcaster
        return lambda text: broadcaster.publish_threadsafe(channel, text).result(within_seconds)

    def assert_dropped(self, *clients: TestingClient, within_seconds: float, cause: str | None = None) -> None:
        """Asserts that the broadcaster drops clients in time, and with `cause`.

        Args:
            clients: Which; by default all clients of this server that misbehave.
            within_seconds: From now on.
            cause: The name of a close reason: "slow", "stalled", "memory", "no_pong" and others. None: any.

        Raises:
            AssertionError: A client was not dropped, or with another cause; the text says how far behind it is.
            ValueError: No close reason has this name.
        """
        __tracebackhide__ = True
        check_cause(cause)
        deadline = time.monotonic() + within_seconds
        asked = list(clients) or [client for client in self.clients if client.misbehaves]
        if not asked:
            raise AssertionError("nothing to assert: no stalled, slow or pausing client was connected")
        for client in asked:
            seen = self._wait_dropped(client, deadline, within_seconds)
            if cause not in (None, seen):
                ours = f"{cause} ({CAUSES[cause].text})" if cause else ""
                raise AssertionError(f"{client} was dropped with cause {seen} ({CAUSES[seen].text}), not with {ours}")

    def _wait_dropped(self, client: TestingClient, deadline: float, within_seconds: float) -> str:
        __tracebackhide__ = True
        broadcaster = self.broadcaster
        while (seen := self._portal.call(cause_of, broadcaster, client)) is None:
            if time.monotonic() > deadline:
                why = self._portal.call(why_not, broadcaster, client)
                raise AssertionError(f"{client} was not dropped within {within_seconds:g} s: {why}")
            time.sleep(_LOOK_SECONDS)
        return seen

    def _keep(self, client: AnyClient) -> AnyClient:
        """Returns the client when the application has gone on behind the handshake: it has put it on a channel."""
        self.clients.append(client)
        self._portal.call(_turns)
        return client

    def _forget(self, client: TestingClient) -> None:
        if client in self.clients:
            self.clients.remove(client)


async def _turns() -> None:
    """Lets the event loop turn a few times."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
