"""The browser client, `fanwise/static/fanwise.js`, in a real browser: against a real server, and a scripted one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from threading import Event
from typing import Any

import orjson
import pytest

from ..conftest import COMMAND
from ..support.browser import Connection, Peer, Tab
from ..support.processes import ServerProcess
from ..support.relay import Proxy
from ..support.screen import WIDE, Screen

NEVER_MS = 1e15  # a ceiling of the backoff under which no attempt comes by itself within a test

TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "sse"])


@pytest.fixture(scope="module")
def only_tab(only_screen: Screen) -> Iterator[Tab]:
    yield Tab(only_screen.page)
    only_screen.forget(WIDE)


@pytest.fixture
def tab(only_tab: Tab) -> Iterator[Tab]:
    """A tab in which no client runs. A page that is loaded stays, for tests of the same server."""
    yield only_tab
    only_tab.forget()


Serve = Callable[..., ServerProcess]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server for those who do nothing to it. Each test has channels of its own."""
    process = ServerProcess(*COMMAND)
    yield process
    process.close()


def request(port: int, method: str, path: str, body: bytes | None = None) -> Any:
    """What a request from outside the browser is answered with."""
    connection = HTTPConnection("127.0.0.1", port)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert answer.status in (200, 204), content
    return orjson.loads(content) if content else None


def publish(port: int, channel: str, *payloads: Any) -> None:
    for payload in payloads:
        request(port, "POST", f"/publish/{channel}", orjson.dumps(payload))


def data(messages: list[Any]) -> list[Any]:
    return [message["data"] for message in messages]


def offsets(messages: list[Any]) -> list[int]:
    return [message["offset"] for message in messages]


# ---------------------------------------------------------------------------------------------- against a real server


@TRANSPORTS
def test_a_killed_server_comes_back(tab: Tab, serve: Serve, transport: str) -> None:
    """Its log is gone, which one gap tells; all that the new one publishes arrives, in order and once.

    The browser is away meanwhile for certain: it would come back in days, and is told that it is online again.
    """
    server = serve()
    tab.load(server.port).start(transport=transport, backoffMs=NEVER_MS, maxBackoffMs=NEVER_MS)
    assert tab.subscribe("news")["value"]["offset"] == 0
    publish(server.port, "news", "a", "b")
    before = tab.wait_for("message", 2)

    server.kill()
    tab.wait("client.state === 'waiting'")
    server = serve(server.port)
    publish(server.port, "news", *range(50))
    tab.do("window.dispatchEvent(new Event('online'))")
    tab.wait_for("message", 52)
    publish(server.port, "news", "live")

    after = tab.wait_for("message", 53)[2:]
    assert (data(before), offsets(before)) == (["a", "b"], [1, 2])
    assert (data(after), offsets(after)) == ([*range(50), "live"], [*range(1, 52)])
    (epoch,) = {message["epoch"] for message in after}
    assert epoch != before[0]["epoch"]
    assert tab.seen("gap") == [{"channel": "news", "epoch": epoch, "from": 1, "to": 0, "reason": "epoch"}]
    assert tab.seen("error") == []


@TRANSPORTS
def test_a_restarting_server_says_when_to_come_back(tab: Tab, serve: Serve, transport: str) -> None:
    """The browser waits for as long as the server asks it to, tries until the server is there, and misses nothing."""
    server = serve()
    tab.load(server.port).start(transport=transport, backoffMs=20, maxBackoffMs=100)
    tab.subscribe("news")
    publish(server.port, "news", "a")
    tab.wait_for("message", 1)

    tab.do("away = true")
    assert server.stop() == 0
    tab.wait("count('state') > 1")
    server = serve(server.port)
    publish(server.port, "news", *range(50))
    tab.do("away = false")

    after = tab.wait_for("message", 51)[1:]
    assert (data(after), offsets(after)) == ([*range(50)], [*range(1, 51)])
    assert [gap["reason"] for gap in tab.seen("gap")] == ["epoch"]
    waiting = next(state for state in tab.seen("state") if state["state"] == "waiting")
    assert waiting["code"] == 1012
    assert waiting["retryMs"] == 500, "what the server tells the first that it lets go"


@TRANSPORTS
def test_a_connection_that_breaks_loses_nothing(tab: Tab, server: ServerProcess, transport: str) -> None:
    """While publishing goes on: every message once and in order, over five connections, without a gap."""
    with Proxy(server.port) as proxy:
        tab.load(proxy.port).start(transport=transport, backoffMs=20, maxBackoffMs=50)
        channel = f"cut-{transport}"
        tab.subscribe(channel)
        for cut in range(5):
            tab.wait("(times) => opened() >= times", cut + 1)
            publish(server.port, channel, *range(cut * 100, cut * 100 + 50))
            with proxy.down():
                publish(server.port, channel, *range(cut * 100 + 50, cut * 100 + 100))
        messages = tab.wait_for("message", 500)
    assert data(messages) == [*range(500)]
    assert offsets(messages) == [*range(1, 501)]
    assert tab.seen("gap") == []
    assert tab.seen("error") == []


def test_where_no_websocket_gets_through(tab: Tab, server: ServerProcess) -> None:
    """Server-Sent Events take over after three attempts, for what was asked before too."""
    tab.load(server.port)
    tab.do("start('/ws', {backoffMs: 1, WebSocket: class { constructor() { throw new Error('not here'); } }})")
    tab.do(
        "window.early = Promise.all([client.subscribe('one'), client.subscribe('two'), client.publish('zero', 1)]); 0"
    )
    tab.wait("client.transport === 'sse'")
    assert len(tab.do("outcome(early)")["value"]) == 3
    assert tab.do("client.state") == "open"
    for channel in ("one", "two"):
        assert "value" in tab.publish(channel, channel)
    assert sorted(data(tab.wait_for("message", 2))) == ["one", "two"]


PAYLOADS: list[Any] = [
    '<img src=x onerror="window.pwned = 1">',
    "</script><script>window.pwned = 1</script>",
    {"__proto__": {"pwned": 1}, "constructor": {"prototype": {"pwned": 1}}},
    "\n\nevent: gap\ndata: {}\n\n",
    "\r\nid: x:9\rretry: 1\u2028\u2029\u0000\ufeff\U0001f600",
    '{"op":"close"}',
    "",
    None,
    [[[]]],
    0.1,
]
HOSTILE = [orjson.dumps(payload).decode() for payload in PAYLOADS]  # nothing else brings `__proto__` to the page


@TRANSPORTS
def test_payloads_and_names_are_data(tab: Tab, server: ServerProcess, transport: str) -> None:
    """Whatever they look like, they arrive as they were, and run nothing."""
    tab.load(server.port).start(transport=transport)
    names = ["__proto__", "constructor", "a/../b", "//x/./"]
    for name in names:
        assert "value" in tab.subscribe(name)
        for text in HOSTILE:
            assert "value" in tab.do("([name, text]) => outcome(client.publish(name, JSON.parse(text)))", [name, text])
    tab.wait_for("message", len(names) * len(HOSTILE))
    for name in names:
        arrived = tab.do(
            "(name) => of('message').filter(({channel}) => channel === name).map(({data}) => JSON.stringify(data))",
            name,
        )
        assert [orjson.loads(text) for text in arrived] == PAYLOADS
    assert sorted(tab.do("[...client.positions.keys()]")) == sorted(names)
    assert tab.do("[window.pwned, ({}).pwned, document.images.length]") == [None, None, 0]
    assert tab.console == []


def test_more_channels_than_the_browser_has_connections(tab: Tab, server: ServerProcess) -> None:
    """A sixth event stream would take the connection that publishing needs: it is refused, with a reason."""
    tab.load(server.port).start(transport="sse")
    for number in range(5):
        assert "value" in tab.subscribe(f"c{number}")
    assert tab.subscribe("c5")["code"] == "too_many_subscriptions"
    assert "value" in tab.publish("c5", 1)
    tab.do("client.unsubscribe('c0')")
    assert "value" in tab.subscribe("c5")


def test_channels_that_no_url_can_name(tab: Tab, server: ServerProcess) -> None:
    """`.` and `..` go over WebSockets only, and are refused with a reason elsewhere."""
    tab.load(server.port).start(transport="sse")
    for name in (".", ".."):
        assert [tab.subscribe(name)["code"], tab.publish(name, 1)["code"]] == ["bad_channel"] * 2
    assert "value" in tab.publish("...", 1)
    tab.start()
    for name in (".", ".."):
        assert "value" in tab.subscribe(name)
        assert "value" in tab.publish(name, name)
    assert data(tab.wait_for("message", 2)) == [".", ".."]


@TRANSPORTS
def test_publications_keep_their_order(tab: Tab, server: ServerProcess, transport: str) -> None:
    """Also when nobody waits for one before the next."""
    channel = f"order-{transport}"
    tab.load(server.port).start(transport=transport)
    tab.subscribe(channel)
    published = tab.do(
        """(channel) => outcome(Promise.all([...Array(100).keys()].map((data) => client.publish(channel, data))))""",
        channel,
    )
    assert offsets(published["value"]) == [*range(1, 101)]
    assert data(tab.wait_for("message", 100)) == [*range(100)]


@TRANSPORTS
def test_bytes_stay_bytes(tab: Tab, server: ServerProcess, transport: str) -> None:
    """An ArrayBuffer or a view of one goes out as binary and comes as Uint8Array, with its key."""
    tab.load(server.port).start(transport=transport)
    tab.subscribe("raw")
    tab.do("client.publish('raw', new Uint8Array([9, 0, 255, 9]).subarray(1, 3), {key: 'k&=#'})")
    tab.do("client.publish('raw', new Uint8Array([1, 2]).buffer)")
    tab.wait_for("message", 2)
    assert tab.do("of('message').map(({data, key}) => [data instanceof Uint8Array, [...data], key ?? null])") == [
        [True, [0, 255], "k&=#"],
        [True, [1, 2], None],
    ]


@TRANSPORTS
def test_what_is_wrong_is_told(tab: Tab, server: ServerProcess, transport: str) -> None:
    """Each mistake rejects its own promise, and the rest goes on."""
    tab.load(server.port).start(transport=transport)
    tab.subscribe("fine")
    assert tab.subscribe("<b>")["code"] == "bad_channel"
    assert tab.publish("<b>", 1)["code"] == "bad_channel"
    assert tab.do("outcome(client.subscribe(5))")["code"] == "bad_channel"
    assert tab.subscribe("fine")["code"] == "already_subscribed"
    assert tab.subscribe("other", since={"epoch": "e", "offset": -1})["name"] == "TypeError"
    assert tab.do("outcome(client.publish('fine', undefined))")["name"] == "TypeError"
    assert tab.publish("fine", "x" * 65_537)["code"] == "too_big"
    assert tab.publish("fine", "x" * 1_000_000)["code"] == "too_big", "not a close with 1009"
    assert tab.do("outcome(client.publish('fine', 'unpaired \\ud800'))")["code"] == "bad_json"
    assert "value" in tab.publish("fine", "x" * 60_000)
    assert len(tab.wait_for("message", 1)) == 1
    assert tab.seen("error") == []


def test_event_streams_that_the_server_refuses(tab: Tab, server: ServerProcess) -> None:
    """Once and for all, and with the server's words, which an EventSource does not tell."""
    tab.load(server.port).start(transport="sse")
    assert tab.subscribe("fine", since={"epoch": "", "offset": 1})["code"] == "bad_position"
    assert "value" in tab.subscribe("fine")


@TRANSPORTS
def test_an_operator_closes_a_client(tab: Tab, server: ServerProcess, transport: str) -> None:
    """It does not come back: over Server-Sent Events the channel has ended, over a WebSocket the client."""
    tab.load(server.port).start(transport=transport, backoffMs=1)
    channel = f"operated-{transport}"
    position = tab.subscribe(channel)["value"]
    (client,) = [one for one in request(server.port, "GET", "/clients")["clients"] if channel in one["channels"]]
    request(server.port, "DELETE", f"/clients/{client['id']}")
    (error,) = tab.wait_for("error", 1)
    assert error["code"] == "closed"
    if transport == "sse":
        assert error == {"code": "closed", "channel": channel, "position": position}
        assert "value" in tab.subscribe(channel)
    else:
        assert tab.seen("state")[-1]["code"] == 4503
        assert tab.subscribe("other")["code"] == "closed"


@TRANSPORTS
def test_a_server_with_a_key(tab: Tab, serve: Serve, transport: str) -> None:
    """Whoever brings it may publish; whoever does not may listen."""
    server = serve(FANWISE_API_KEY="se/+~.-_same==")
    tab.load(server.port).start(transport=transport)
    tab.subscribe("c")
    assert tab.publish("c", 1)["code"] == "unauthorised"
    tab.start(transport=transport, apiKey="se/+~.-_same==")
    assert "value" in tab.publish("c", 2)
    assert data(tab.wait_for("message", 1)) == [2]


def test_where_a_position_is_kept(tab: Tab, server: ServerProcess) -> None:
    """`positions` and `unsubscribe` say how far it came, and `since` goes on from there."""
    tab.load(server.port).start()
    epoch = tab.subscribe("c")["value"]["epoch"]
    publish(server.port, "c", 1, 2, 3)
    tab.wait_for("message", 3)
    assert tab.do("[...client.positions]") == [["c", {"epoch": epoch, "offset": 3}]]
    assert tab.do("client.unsubscribe('c')") == {"epoch": epoch, "offset": 3}
    assert tab.do("client.unsubscribe('c') === undefined && client.positions.size === 0")
    assert tab.subscribe("c", since={"epoch": epoch, "offset": 1})["value"] == {"epoch": epoch, "offset": 1}
    assert data(tab.wait_for("message", 5)) == [1, 2, 3, 2, 3]
    tab.do("client.close()")
    assert tab.do("[client.state, client.positions.get('c').offset]") == ["closed", 3]
    assert tab.publish("c", 4)["code"] == "closed"


# ------------------------------------------------------------------------------------------ against a scripted server


def begin(connection: Connection, *, epoch: str = "E", offset: int = 0) -> dict[str, Any]:
    """Welcomes the client and answers its subscription; returns what it asked for."""
    connection.welcome()
    asked = connection.receive()
    connection.send(op="subscribed", channel=asked["channel"], epoch=epoch, offset=offset, recovered=False)
    return asked


def run(tab: Tab, peer: Peer, **options: Any) -> None:
    """Starts a client that comes back at once, with one subscription."""
    begin_in(tab.load(peer.port), **options)


def begin_in(tab: Tab, **options: Any) -> None:
    """Starts such a client in a page that is loaded."""
    tab.start(**{"backoffMs": 1, "maxBackoffMs": 1, **options})
    tab.do("window.subscribed = outcome(client.subscribe('c')); 0")


def story(tab: Tab) -> list[Any]:
    """Messages and gaps in the order in which they came: an offset, or (from, to, reason, epoch)."""
    return [
        what["offset"] if kind == "message" else (what["from"], what["to"], what["reason"], what["epoch"])
        for kind, what in tab.do("seen")
        if kind in ("message", "gap")
    ]


def test_codes_that_forbid_to_come_back(tab: Tab) -> None:
    """The client is closed, says why, and whoever waits is told."""
    codes = [1000, 1002, 1008, 1009, 4500, 4501, 4503, 4999]

    def closing(code: int) -> Callable[[Connection], None]:
        def script(connection: Connection) -> None:
            begin(connection)
            connection.receive()  # a publish, which gets no answer
            connection.raw.close(code, "because")

        return script

    with Peer(*map(closing, codes)) as peer:
        tab.load(peer.port)
        for number, code in enumerate(codes, start=1):
            tab.do("seen.length = 0")
            begin_in(tab)
            assert tab.publish("c", 1)["code"] == "unconfirmed", code
            tab.wait("client.state !== 'open'")
            assert tab.seen("state")[-1] == {
                "state": "closed",
                "transport": "websocket",
                "code": code,
                "reason": "because",
            }
            assert [error["code"] for error in tab.seen("error")] == ["closed"], code
            assert tab.subscribe("d")["code"] == "closed", code
            assert peer.connections == number, code


def test_codes_after_which_it_comes_back(tab: Tab) -> None:
    """Every other code, and no code at all."""
    codes = [1001, 1011, 1012, 1013, 3000, 4000, 4008, 4009, 4012, 4499, None]

    def closing(code: int | None) -> Callable[[Connection], None]:
        def script(connection: Connection) -> None:
            begin(connection)
            connection.reset() if code is None else connection.raw.close(code)

        return script

    def last(connection: Connection) -> None:
        begin(connection)
        connection.message(1)
        connection.wait_closed()

    with Peer(*map(closing, codes), last) as peer:
        run(tab, peer)
        tab.wait_for("message", 1)
        assert tab.do("opened()") == len(codes) + 1
        waits = [state["code"] for state in tab.seen("state") if state["state"] == "waiting"]
        assert waits == [*codes[:-1], 1006]
        tab.do("client.close()")


def test_each_offset_comes_once_and_each_hole_is_told(tab: Tab) -> None:
    """Whatever the server repeats, overlaps or leaves out."""

    def script(connection: Connection) -> None:
        begin(connection, offset=5)

        def gap(first: int, last: int, reason: str, epoch: str = "E") -> None:
            connection.send(op="gap", channel="c", epoch=epoch, **{"from": first, "to": last}, reason=reason)

        connection.message(3)
        connection.message(6)
        connection.message(6)
        connection.message(5)
        gap(7, 8, "slow")
        gap(7, 8, "slow")
        connection.message(8)
        connection.message(9)
        connection.message(12)  # 10 and 11 are missing, and nobody tells
        gap(11, 14, "slow")  # 11 is told already, 12 came
        gap(17, 18, "history")  # and 15, 16?
        connection.message(19)
        gap(1, 2, "epoch", "F")
        connection.message(3)
        gap(1, 3, "epoch", "E")  # back to a log of which all that is missing was told
        connection.message(19)
        connection.message(20)
        connection.message(21, channel="other")
        connection.send(op="news", channel="c")  # an op of a later version
        connection.message(21)
        connection.wait_closed()

    with Peer(script) as peer:
        run(tab, peer)
        tab.wait("of('message').at(-1)?.offset === 21")
        assert story(tab) == [
            6,
            (7, 8, "slow", "E"),
            9,
            (10, 11, "unknown", "E"),
            12,
            (13, 14, "slow", "E"),
            (15, 16, "unknown", "E"),
            (17, 18, "history", "E"),
            19,
            (1, 2, "epoch", "F"),
            3,
            (20, 19, "epoch", "E"),
            20,
            21,
        ]
        assert tab.seen("error") == []
        tab.do("client.close()")


def test_a_connection_lost_before_the_gap_was_told(tab: Tab) -> None:
    """The position stays in the old log until the new one has shown itself, so that the gap is told by the next."""
    asked = []

    def first(connection: Connection) -> None:
        asked.append(begin(connection, offset=5))
        connection.message(6)
        connection.raw.close(1011)

    def second(connection: Connection) -> None:
        asked.append(begin(connection, epoch="F"))
        connection.raw.close(1011)

    def third(connection: Connection) -> None:
        connection.welcome()
        asked.append(connection.receive())
        connection.message(7)  # of which log?
        connection.send(op="subscribed", channel="c", epoch="F", offset=0, recovered=False)
        connection.message(1)  # not even this one tells
        connection.wait_closed()

    with Peer(first, second, third) as peer:
        run(tab, peer)
        tab.wait_for("message", 2)
        assert story(tab) == [6, (1, 0, "unknown", "F"), 1]
        assert [frame.get("since") for frame in asked] == [None, *[{"epoch": "E", "offset": 6}] * 2]
        tab.do("client.close()")


def test_a_position_that_never_was(tab: Tab) -> None:
    """Given by the program, and beyond the log's head: the server's word counts, and the gap says so."""

    def script(connection: Connection) -> None:
        begin(connection, offset=0)
        connection.send(op="gap", channel="d", epoch="E", **{"from": 1, "to": 0}, reason="epoch")
        connection.message(1, channel="d")
        connection.wait_closed()

    with Peer(script) as peer:
        tab.load(peer.port).start()
        tab.subscribe("d", since={"epoch": "E", "offset": 1000})
        tab.wait_for("message", 1)
        assert story(tab) == [(1, 0, "epoch", "E"), 1]
        tab.do("client.close()")


def test_publications_without_an_answer(tab: Tab) -> None:
    """What was on its way is unconfirmed; what was not goes out later, in order; and their number is bounded."""
    received = []

    def first(connection: Connection) -> None:
        begin(connection)
        received.append(connection.receive())
        connection.raw.close(1011)

    def second(connection: Connection) -> None:
        begin(connection)
        for offset in (1, 2, 3):
            received.append(connection.receive())
            connection.send(op="published", channel="c", id=received[-1]["id"], epoch="E", offset=offset)
        connection.wait_closed()

    with Peer(first, second) as peer:
        run(tab, peer, backoffMs=NEVER_MS, maxBackoffMs=NEVER_MS, maxPending=3)
        lost = tab.publish("c", "lost")
        assert (lost["name"], lost["code"], lost["channel"]) == ("UnconfirmedError", "unconfirmed", "c")
        assert 0 < waits_ms(tab)[0] < 2**31, "what a timer can do"
        tab.do("window.later = Promise.all([1, 2, 3].map((data) => client.publish('c', data))); 0")
        assert tab.publish("c", 4)["code"] == "too_many_pending"
        tab.do("window.dispatchEvent(new Event('online'))")
        assert tab.do("later.then((positions) => positions.map(({offset}) => offset))") == [1, 2, 3]
        assert [frame["data"] for frame in received] == ["lost", 1, 2, 3]
        tab.do("client.close()")


def test_leaving_and_coming_back(tab: Tab) -> None:
    """What is still on its way for who has left is not for who has come back."""

    def script(connection: Connection) -> None:
        connection.welcome()
        assert [connection.receive()["op"] for _ in range(3)] == ["subscribe", "unsubscribe", "subscribe"]
        connection.send(op="subscribed", channel="c", epoch="E", offset=5, recovered=False)
        connection.message(6)
        connection.send(op="unsubscribed", channel="c")
        connection.send(op="subscribed", channel="c", epoch="E", offset=8, recovered=False)
        connection.message(9)
        connection.wait_closed()

    with Peer(script) as peer:
        tab.load(peer.port).start()
        tab.wait("client.state === 'open'")
        left, stayed = tab.do(
            """Promise.all(["left", "stayed"].map((_, number) => {
                const subscribed = outcome(client.subscribe("c"));
                if (number === 0) client.unsubscribe("c");
                return subscribed;
            }))"""
        )
        tab.wait_for("message", 1)
        assert left["code"] == "unsubscribed"
        assert stayed == {"value": {"epoch": "E", "offset": 8}}
        assert story(tab) == [9]
        tab.do("client.close()")


def test_handlers_that_leave_or_throw(tab: Tab) -> None:
    """Who unsubscribes when a gap is told gets nothing more; what a handler throws is reported and costs nothing."""
    answered = Event()

    def script(connection: Connection) -> None:
        begin(connection)
        connection.message(1)
        connection.message(2)
        connection.message(4)
        connection.receive()
        connection.send(op="unsubscribed", channel="c")
        answered.set()
        connection.wait_closed()

    with Peer(script) as peer:
        tab.load(peer.port).start()
        tab.do(
            """client.subscribe("c", {
                onMessage: (message) => { seen.push(["message", message]); throw new Error("mine"); },
                onGap: (gap) => { seen.push(["gap", gap]); client.unsubscribe("c"); },
            })"""
        )
        tab.wait_for("gap", 1)
        assert answered.wait(60)
        tab.do("client.close()")
        assert story(tab) == [1, 2, (3, 3, "unknown", "E")]
        assert tab.console == ["mine", "mine"]


def waits_ms(tab: Tab) -> list[float]:
    return [state["retryMs"] for state in tab.seen("state") if state["state"] == "waiting"]


def test_the_times_of_the_attempts(tab: Tab) -> None:
    """Random under a ceiling that doubles up to the last one, also when the server takes in whom it then drops."""

    def drop(connection: Connection) -> None:
        connection.welcome()
        connection.raw.close(1011)

    def last(connection: Connection) -> None:
        connection.welcome()
        connection.wait_closed()

    with Peer(*[drop] * 5, last) as peer:
        tab.load(peer.port).do("Math.random = () => 0.5")
        tab.start(backoffMs=2, maxBackoffMs=16)
        tab.wait("opened() === 6")
        assert waits_ms(tab) == [1, 2, 4, 8, 8]
        tab.do("client.close()")


def test_the_times_begin_again(tab: Tab) -> None:
    """After a connection that has lived for long enough the ceiling is the first one."""

    def fail(connection: Connection) -> None:
        connection.raw.close(1011)

    def live(connection: Connection) -> None:
        connection.welcome()
        assert connection.receive()["data"] == "alive"
        connection.raw.close(1011)

    def last(connection: Connection) -> None:
        connection.welcome()
        connection.wait_closed()

    with Peer(fail, fail, live, last) as peer:
        tab.load(peer.port).do("Math.random = () => 0.5")
        tab.start(backoffMs=2, steadyMs=0)
        tab.wait("opened() === 1")
        tab.do("new Promise((done) => setTimeout(done)).then(() => outcome(client.publish('c', 'alive')))")
        tab.wait("opened() === 2")
        assert waits_ms(tab) == [1, 2, 1]
        tab.do("client.close()")


HINTS = [
    ('{"reason":"restart","retry_ms":7}', 7),
    ('{"reason":"restart","retry_ms":0}', 0),
    ('{"retry_ms":1e12}', 300_000),
    ('{"retry_ms":-1}', 1),
    ('{"retry_ms":"7"}', 1),
    ("[7]", 1),
    ("restart", 1),
]
# A client that connects once: `away` is what it is while it waits.
START_ONCE = """start("/ws", {backoffMs: 2, onState: (state, detail) => {
    away = state === "waiting";
    seen.push(["state", {state, ...detail}]);
}})"""


def test_the_servers_hint(tab: Tab) -> None:
    """The text of a close with 1012 says when to come back, if it makes sense; else it is the backoff's turn."""

    def closing(text: str) -> Callable[[Connection], None]:
        def script(connection: Connection) -> None:
            connection.welcome()
            connection.raw.close(1012, text)

        return script

    with Peer(*(closing(text) for text, _ in HINTS)) as peer:
        tab.load(peer.port).do("Math.random = () => 0.5")
        for text, wait_ms in HINTS:
            tab.do("seen.length = 0")
            tab.do(START_ONCE)
            tab.wait("count('state') >= 2")
            waiting = tab.seen("state")[1]
            assert (waiting["code"], waiting["reason"], waiting["retryMs"]) == (1012, text, wait_ms)
            tab.do("client.close()")
        assert peer.connections == len(HINTS)


HOLD = """(delay) => {  // the first timer of this length fires when `fire` is called
    const set = setTimeout;
    window.setTimeout = (callback, ms, ...rest) => {
        if (ms !== delay || window.fire) return set(callback, ms, ...rest);
        window.fire = callback;
        return 0;
    };
}"""


def test_a_server_that_does_not_say_a_word(tab: Tab) -> None:
    """Without a welcome in time the attempt has failed."""
    connected = Event()

    def silent(connection: Connection) -> None:
        connected.set()
        connection.wait_closed()

    def live(connection: Connection) -> None:
        begin(connection)
        connection.wait_closed()

    with Peer(silent, live) as peer:
        tab.load(peer.port).do(HOLD, 54_321)
        tab.start(backoffMs=1, maxBackoffMs=1, welcomeMs=54_321)
        tab.do("window.subscribed = outcome(client.subscribe('c')); 0")
        connected.wait()
        tab.do("fire()")
        tab.wait("client.state === 'open'")
        assert tab.do("subscribed")["value"] == {"epoch": "E", "offset": 0}
        assert peer.connections == 2
        tab.do("client.close()")


def test_what_the_server_skips_is_no_hole(tab: Tab) -> None:
    """One's own publication does not come: told in front of what is before it, or at its place."""

    def script(connection: Connection) -> None:
        begin(connection)
        for offset in (1, 4):
            connection.send(op="skipped", channel="c", epoch="E", offset=offset)
        for offset in (2, 3, 5):
            connection.message(offset)
        connection.wait_closed()

    with Peer(script) as peer:
        run(tab, peer)
        tab.wait_for("message", 3)
        assert story(tab) == [2, 3, 5]
        tab.do("client.close()")


def test_what_is_no_frame_is_told(tab: Tab) -> None:
    """It costs nothing else, but for the hole that it leaves."""

    def script(connection: Connection) -> None:
        begin(connection)
        connection.raw.send("{")
        connection.raw.send(b"\x00")
        connection.raw.send("[1]")
        connection.send(op="message", channel="c", offset="2", data=0)
        connection.send(op="message", channel="c", offset=1, data="%", encoding="base64")
        connection.message(2)
        connection.wait_closed()

    with Peer(script) as peer:
        run(tab, peer)
        tab.wait_for("message", 1)
        assert [error["code"] for error in tab.seen("error")] == ["bad_frame"] * 5
        assert story(tab) == [(1, 1, "unknown", "E"), 2]
        tab.do("client.close()")


def test_a_subscription_that_the_server_ends(tab: Tab) -> None:
    """Before it began its promise tells, later `onError` does, with how far it came."""

    def script(connection: Connection) -> None:
        begin(connection)
        connection.message(1)
        connection.receive()
        connection.send(op="error", code="too_many_channels", message="no", channel="d")
        connection.send(op="error", code="too_many_channels", message="no", channel="c")
        connection.wait_closed()

    with Peer(script) as peer:
        run(tab, peer)
        assert tab.subscribe("d")["code"] == "too_many_channels"
        (error,) = tab.wait_for("error", 1)
        assert (error["channel"], error["position"]) == ("c", {"epoch": "E", "offset": 1})
        assert tab.do("client.positions.size") == 0
        tab.do("client.close()")


def test_the_key_in_the_handshake(tab: Tab) -> None:
    """As a subprotocol: base64url without padding, of UTF-8."""
    offered = []

    def script(connection: Connection) -> None:
        offered.append(connection.offered)
        connection.welcome()
        connection.wait_closed()

    with Peer(script) as peer:
        tab.load(peer.port).start(apiKey="é>?~")
        tab.wait("client.state === 'open'")
        assert offered == [["fanwise.v1", "fanwise.key.w6k-P34"]]
        tab.do("client.close()")


def test_closing_is_quiet(tab: Tab) -> None:
    """Promises that nobody listens to any more are no errors, and no timer is left that would reconnect."""

    def script(connection: Connection) -> None:
        connection.welcome()
        connection.wait_closed()

    with Peer(script) as peer:
        tab.load(peer.port).start()
        tab.wait("client.state === 'open'")
        tab.do("client.subscribe('c'), client.publish('c', 1), client.close(), client.close()")
        tab.do("window.dispatchEvent(new Event('online'))")
        assert [state["state"] for state in tab.seen("state")] == ["open", "closed"]
        assert tab.console == []
        assert peer.connections == 1


def test_arguments_that_make_no_sense(tab: Tab) -> None:
    """Are refused by name."""
    with Peer() as peer:
        tab.load(peer.port)
        for url, options, says in [("ftp://x/", {}, "ftp://x/"), ("/ws", {"transport": "pigeon"}, "pigeon")]:
            refused = tab.do(
                "([url, options]) => outcome((async () => new FanwiseClient(url, options))())",
                [url, options],
            )
            assert refused["name"] == "TypeError"
            assert says in refused["message"]
