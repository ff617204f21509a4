"""The browser client of a user: tokens, presence, tags and messages to one client, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..conftest import COMMAND
from ..routes.test_trace_context import PARENT
from ..support.browser import Connection, Peer, Tab
from ..support.minted import ASKING, KEY
from ..support.processes import ServerProcess
from ..support.screen import WIDE, Screen

# A client whose tokens are t1, t2 and so on, and which comes back at once; `odd[n]` stands for the n-th call.
START = """({welcomeMs, ...odd}) => {
    window.calls = 0;
    const wrong = {throw: () => { throw new Error("no"); }, hang: () => new Promise(() => {}), text: () => "a b"};
    wrong.end = () => import("/static/fanwise.js").then(({FanwiseError}) => { throw new FanwiseError("gone", "bye"); });
    start("/ws", {
        backoffMs: 1, maxBackoffMs: 1, welcomeMs: welcomeMs ?? 10_000,
        onDirect: (data) => seen.push(["direct", data]),
        token: () => { calls += 1; return wrong[odd[calls]]?.() ?? odd[calls] ?? `t${calls}`; },
    });
}"""


@pytest.fixture(scope="module")
def only_tab(only_screen: Screen) -> Iterator[Tab]:
    yield Tab(only_screen.page)
    only_screen.forget(WIDE)


@pytest.fixture
def tab(only_tab: Tab) -> Iterator[Tab]:
    yield only_tab
    only_tab.forget()


def welcome(connection: Connection, token: str, seconds: float = 3600) -> None:
    assert connection.offered == ["fanwise.v1", f"fanwise.token.{token}"]
    connection.send(op="welcome", client="1", version="0", max_message_bytes=65_536, expires_in=seconds)


def subscribed(connection: Connection, offset: int = 0) -> dict[str, object]:
    asked = connection.receive()
    connection.send(op="subscribed", channel=asked["channel"], epoch="E", offset=offset, recovered=False)
    return asked


def test_a_token_is_renewed_and_replaced(tab: Tab) -> None:
    """Before its time ends on the connection that stands; after 4013 by the next handshake. Nothing is lost."""

    def first(connection: Connection) -> None:
        welcome(connection, "t1", 0.01)
        subscribed(connection)
        assert connection.receive() == {"op": "authenticate", "token": "t2"}
        connection.send(op="error", code="forbidden", message="another user's")
        assert connection.receive() == {"op": "authenticate", "token": "t3"}
        connection.send(op="authenticated", user="u", expires_in=3600)
        connection.message(1)
        connection.raw.close(4013, "expired")

    def second(connection: Connection) -> None:
        welcome(connection, "t4")
        assert subscribed(connection, 1)["since"] == {"epoch": "E", "offset": 1}
        connection.message(2)
        connection.raw.close(1012, "")

    def third(connection: Connection) -> None:
        welcome(connection, "t4")
        subscribed(connection, 2)
        connection.message(3)
        connection.wait_closed()

    with Peer(first, second, third) as peer:
        tab.load(peer.port).do(START, {})
        tab.subscribe("c")
        assert [message["offset"] for message in tab.wait_for("message", 3)] == [1, 2, 3]
        assert [error["code"] for error in tab.seen("error")] == ["token"]
        assert tab.seen("gap") == []
        tab.do("client.close()")


def test_what_a_function_may_do_wrong(tab: Tab) -> None:
    """It raises, hangs, and returns what is no token: each is told and tried again. It may also end the client."""

    def script(connection: Connection) -> None:
        welcome(connection, "t4")
        subscribed(connection)
        connection.wait_closed()

    with Peer(script) as peer:
        tab.load(peer.port).do(START, {"1": "throw", "2": "text", "3": "hang", "welcomeMs": 1000})
        assert "value" in tab.subscribe("c")
        assert [error["code"] for error in tab.seen("error")] == ["token"] * 3
        assert tab.do("client.transport") == "websocket"
        tab.do("client.close()")
        tab.do("seen.length = 0")
        tab.do(START, {"1": "end"})
        assert tab.subscribe("c")["code"] == "closed"
        assert [(state["state"], state.get("reason")) for state in tab.seen("state")] == [("closed", "bye")]
        assert tab.do("[calls, outcome(client.presence('c'))][0]") == 1
        assert peer.connections == 1


def test_who_is_there(tab: Tab) -> None:
    """Asked again after a loss; joins and leaves in their place, and a gap where nobody told."""
    answer = {"clients": 2, "users": 1, "members": [{"id": "a", "info": 1}], "truncated": False}

    def first(connection: Connection) -> None:
        welcome(connection, "t1")
        assert subscribed(connection) == {"op": "subscribe", "channel": "c", "presence": True, "last": 3}
        connection.send(op="join", channel="c", id="a", info={"name": "A"})
        connection.message(1)
        connection.send(op="leave", channel="c", id="a")
        connection.send(op="presence_gap", channel="c", users=7)
        asked = connection.receive()
        assert (asked["op"], asked["channel"]) == ("presence", "c")
        connection.reset()

    def second(connection: Connection) -> None:
        welcome(connection, "t1")
        subscribed(connection, 1)
        asked = connection.receive()
        connection.send(op="presence", id=asked["id"], channel="c", **answer)
        asked = connection.receive()
        connection.send(op="error", id=asked["id"], channel="c", code="forbidden", message="no")
        connection.message(2)
        connection.wait_closed()

    with Peer(first, second) as peer:
        tab.load(peer.port).do(START, {})
        tab.do("""outcome(client.subscribe("c", {last: 3, onPresence: (change) => seen.push(["presence", change])}))""")
        changes = tab.wait_for("presence", 3)
        assert tab.do("outcome(client.presence('c'))")["value"] == {"channel": "c", **answer}
        assert tab.do("outcome(client.presence('c'))")["code"] == "forbidden"
        assert changes == [
            {"type": "join", "channel": "c", "id": "a", "info": {"name": "A"}},
            {"type": "leave", "channel": "c", "id": "a"},
            {"type": "gap", "channel": "c", "users": 7},
        ]
        tab.wait_for("message", 2)
        assert tab.seen("presence")[3:] == [{"type": "gap", "channel": "c"}]
        assert tab.seen("error") == []
        tab.do("client.close()")


def test_tags_and_messages_to_one_client(tab: Tab) -> None:
    """A filter leaves no holes; a subscription that the server ends is told, and others go on."""

    def script(connection: Connection) -> None:
        welcome(connection, "t")
        assert subscribed(connection) == {"op": "subscribe", "channel": "c", "filter": {"s": ["EUR", "USD"]}}
        connection.send(op="message", channel="c", offset=5, data=1, tags={"s": "EUR"})
        connection.message(9)
        connection.send(op="direct", data="AP8=", encoding="base64")
        asked = connection.receive()
        assert (asked["tags"], asked["echo"], asked["traceparent"]) == ({"s": "EUR"}, False, PARENT)
        connection.send(op="published", id=asked["id"], channel="c", epoch="E", offset=10)
        connection.send(op="unsubscribed", channel="c")
        subscribed(connection)
        connection.wait_closed()

    with Peer(script) as peer:
        tab.load(peer.port).do(START, {"1": "t"})
        tab.subscribe("c", filter={"s": ["EUR", "USD"]})
        messages = tab.wait_for("message", 2)
        assert [(message["offset"], message.get("tags")) for message in messages] == [(5, {"s": "EUR"}), (9, None)]
        assert tab.publish("c", 1, tags={"s": "EUR"}, echo=False, traceparent=PARENT)["value"]["offset"] == 10
        assert tab.wait_for("error", 1) == [
            {"code": "forbidden", "channel": "c", "position": {"epoch": "E", "offset": 9}}
        ]
        assert tab.do("of('direct').map((data) => [...data])") == [[0, 255]]
        assert tab.seen("gap") == []
        assert "value" in tab.subscribe("d")
        for options in ({"last": -1}, {"last": 1, "since": {"epoch": "E", "offset": 1}}, {"filter": "EUR"}):
            assert tab.subscribe("e", **options)["name"] == "TypeError"
        tab.do("client.close()")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A real one, which asks for tokens."""
    process = ServerProcess(*COMMAND, **ASKING)
    yield process
    process.close()


# Tokens for the server below: of a moment until the test has begun, and then of ten minutes.
MINT = """async ([key, transport, seconds]) => {
    const plain = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("=", "");
    const encode = (bytes) => plain(bytes).replaceAll("+", "-").replaceAll("/", "_");
    const part = (value) => encode(new TextEncoder().encode(JSON.stringify(value)));
    const secret = new TextEncoder().encode(key);
    const hmac = await crypto.subtle.importKey("raw", secret, {name: "HMAC", hash: "SHA-256"}, false, ["sign"]);
    Object.assign(window, {calls: 0, begun: false});
    window.token = async () => {
        const exp = Date.now() / 1000 + (window.begun ? 600 : seconds);
        const claims = {sub: "ann", exp, subscribe: ["*"], publish: ["*"], info: {name: "ann"}};
        const text = `${part({alg: "HS256", typ: "JWT"})}.${part(claims)}`;
        calls += 1;
        const signature = await crypto.subtle.sign("HMAC", hmac, new TextEncoder().encode(text));
        return `${text}.${encode(new Uint8Array(signature))}`;
    };
    start("/ws", {transport, token, backoffMs: 1});
}"""


# The spans that requests name in their headers, until `window.fetch` is again what it was.
SPY = """() => {
    Object.assign(window, {fetched: window.fetch, posted: []});
    window.fetch = (url, options) => { posted.push(options?.headers?.traceparent); return fetched(url, options); };
}"""


@pytest.mark.parametrize(("transport", "seconds"), [("websocket", 1.2), ("sse", 1.5)])
def test_on_a_server_that_asks_for_tokens(tab: Tab, server: ServerProcess, transport: str, seconds: float) -> None:
    """What is published comes, behind the end of the first token too, and who is there is known."""
    tab.load(server.port).do(MINT, [KEY, transport, seconds])
    channel = f"e2e-{transport}"
    assert "value" in tab.subscribe(channel)
    assert "value" in tab.publish(channel, 1)
    presence = tab.do("(channel) => outcome(client.presence(channel))", channel)["value"]
    assert presence["members"] == [{"id": "ann", "info": {"name": "ann"}}]
    tab.do("begun = true")
    tab.wait("calls >= 2 && opened() >= (client.transport === 'sse' ? 2 : 1) && client.state === 'open'")
    assert "value" in tab.publish(channel, 2)
    assert [message["offset"] for message in tab.wait_for("message", 2)] == [1, 2]
    assert tab.seen("gap") == []
    if transport == "sse":
        assert 4013 in [state.get("code") for state in tab.seen("state")]
    tab.do(SPY)
    assert "value" in tab.publish(channel, 3, tags={"s": "EUR"}, traceparent=PARENT)
    assert tab.do("window.fetch = fetched, posted") == ([PARENT] if transport == "sse" else [])
    assert "value" in tab.publish(channel, 4)
    tab.wait_for("message", 4)
    tab.do("(channel) => { client.unsubscribe(channel); seen.length = 0; }", channel)
    assert "value" in tab.subscribe(channel, last=1, filter={"s": "EUR"})
    assert [(message["data"], message["tags"]) for message in tab.wait_for("message", 1)] == [(3, {"s": "EUR"})]
    tab.do("client.close()")
