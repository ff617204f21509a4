"""What the tests of the browser client need besides a browser: a page, a scripted server, a connection to cut."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from fanwise.routes.assets import DIRECTORY

from .processes import free_port

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page

CLIENT = DIRECTORY / "fanwise.js"

# Ends what a test has begun in a page, and puts back what it has replaced there.
END = """() => {
    clients.splice(0).forEach((client) => client.close());
    Object.assign(window, {setTimeout: originals.setTimeout});
    Math.random = originals.random;
    for (const name of ["fire", "client", "subscribed", "later", "early"]) delete window[name];
}"""
# Prepares a page. What the client tells stands in `seen`, in the order in which it came: [kind, what].
PREPARE = """async () => {
    const {FanwiseClient} = await import("/static/fanwise.js");
    window.originals ??= {setTimeout, random: Math.random};
    const seen = [];
    const of = (kind) => seen.filter(([found]) => found === kind).map(([, what]) => what);
    const {WebSocket, EventSource} = window;
    Object.assign(window, {
        FanwiseClient,
        seen,
        of,
        clients: [],
        away: false, // no attempt to connect gets anywhere
        count: (kind) => of(kind).length,
        opened: () => of("state").filter(({state}) => state === "open").length,
        start: (url, options) => {
            window.client = new FanwiseClient(url, {
                onMessage: (message) => seen.push(["message", message]),
                onGap: (gap) => seen.push(["gap", gap]),
                onState: (state, detail) => seen.push(["state", {state, ...detail}]),
                onError: ({code, channel, position}) => seen.push(["error", {code, channel, position}]),
                WebSocket: class extends WebSocket {
                    constructor(...args) { if (away) throw new Error("away"); super(...args); }
                },
                EventSource: class extends EventSource {
                    constructor(url) { if (away) throw new Error("away"); super(url); }
                },
                ...options,
            });
            clients.push(client);
        },
        // What becomes of a promise, as data; null if nothing does.
        outcome: (promise) => Promise.race([
            promise.then((value) => ({value}), ({name, code, message, channel}) => ({name, code, message, channel})),
            new Promise((resolve) => setTimeout(resolve, 60_000, null)),
        ]),
    });
}"""


class Tab:
    """A page with a client in it, and what it has seen."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._port: int | None = None  # of the page that is loaded
        page.set_default_timeout(60_000)
        self.console: list[str] = []  # errors and warnings, uncaught exceptions included
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.console.append(str(error)))

    def _hear(self, entry: ConsoleMessage) -> None:
        asks_for_icon = entry.location["url"].endswith("/favicon.ico")  # which browsers do by themselves
        if entry.type in ("error", "warning") and not asks_for_icon:
            self.console.append(entry.text)

    def forget(self) -> None:
        """Ends the clients in the page, with all that they have said."""
        self.do(END)
        self.console.clear()

    def load(self, port: int) -> Self:
        """Loads some page from `port`, and the browser client that is served there, unless both are here already."""
        if port != self._port:
            self.page.goto(f"http://127.0.0.1:{port}/healthz")
            self._port = port
        self.do(PREPARE)
        self.console.clear()
        return self

    def start(self, url: str = "/ws", **options: Any) -> None:
        self.page.evaluate("([url, options]) => start(url, options)", [url, options])

    def do(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(script, argument)

    def wait(self, condition: str, argument: Any = None) -> None:
        """Returns when the condition holds, looking every 10 ms: a look at each frame has each of them painted."""
        self.page.wait_for_function(condition, arg=argument, polling=10)

    def wait_for(self, kind: str, number: int) -> list[Any]:
        """What was told of a kind, when there is so much of it."""
        self.wait("([kind, number]) => count(kind) >= number", [kind, number])
        return self.seen(kind)

    def seen(self, kind: str) -> list[Any]:
        found: list[Any] = self.do("(kind) => of(kind)", kind)
        return found

    def subscribe(self, channel: str, **options: Any) -> dict[str, Any]:
        """The position, or what the promise was rejected with."""
        answer: dict[str, Any] = self.do(
            "([channel, options]) => outcome(client.subscribe(channel, options))", [channel, options]
        )
        return answer

    def publish(self, channel: str, data: Any, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.do(
            "([channel, data, options]) => outcome(client.publish(channel, data, options))", [channel, data, options]
        )
        return answer


class Connection:
    """One connection of the scripted server, in objects."""

    def __init__(self, connection: ServerConnection) -> None:
        self.raw = connection

    @property
    def offered(self) -> list[str]:
        assert self.raw.request is not None
        return self.raw.request.headers["Sec-WebSocket-Protocol"].split(", ")

    def send(self, **frame: Any) -> None:
        self.raw.send(json.dumps(frame))

    def welcome(self, *, max_message_bytes: int = 65_536) -> None:
        self.send(op="welcome", client="1", version="0", max_message_bytes=max_message_bytes, max_subscriptions=9)

    def receive(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(self.raw.recv())
        return frame

    def message(self, offset: int, *, channel: str = "c") -> None:
        self.send(op="message", channel=channel, offset=offset, data=offset)

    def wait_closed(self) -> None:
        """Returns when the other side has left, whether it has said so or not."""
        with suppress(ConnectionClosed):
            for _ in self.raw:
                pass

    def reset(self) -> None:
        reset(self.raw.socket)


@cache
def _the_port() -> int:
    """The same for each peer: its page is loaded once."""
    return free_port()


class Peer:
    """A server of pages and WebSockets that does to its first WebSocket what the first script says, and so on."""

    def __init__(self, *scripts: Callable[[Connection], None]) -> None:
        self._scripts = list(scripts)
        self._failures: list[BaseException] = []
        self._connections: list[ServerConnection] = []
        self._server = serve(
            self._run,
            "127.0.0.1",
            _the_port(),
            subprotocols=[Subprotocol("fanwise.v1")],
            compression=None,
            process_request=self._answer,
        )
        self.port: int = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever)

    def _answer(self, _connection: ServerConnection, request: Request) -> Response | None:
        """The answer to what is no WebSocket."""
        if "Upgrade" in request.headers:
            return None
        if request.path == "/static/fanwise.js":
            return Response(200, "OK", Headers({"Content-Type": "text/javascript"}), CLIENT.read_bytes())
        return Response(200, "OK", Headers({"Content-Type": "text/plain"}), b"a page")

    def _run(self, connection: ServerConnection) -> None:
        self._connections.append(connection)
        try:
            self._scripts[self.connections - 1](Connection(connection))
        except Exception as error:  # noqa: BLE001 - raised again in the test, whose thread is another
            self._failures.append(error)

    @property
    def connections(self) -> int:
        """How many WebSockets there have been."""
        return len(self._connections)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        for connection in self._connections:
            reset(connection.socket)
        if self._failures:
            raise self._failures[0]


def reset(sock: socket.socket) -> None:
    """Ends a connection without a word: RST, whatever is still on its way."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
