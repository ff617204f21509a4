"""Tokens on real sockets: what is refused, what each one opens, when a connection ends, and how it goes on."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import OKPAlgorithm
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from fanwise import Action, Broadcaster
from fanwise.app import create_app
from fanwise.backplane.memory import MemoryEngine
from fanwise.core.rights import HISTORY, LISTENING, OPERATE, PRESENCE, PUBLISH, SUBSCRIBE, Rights
from fanwise.errors import BackplaneDownError
from fanwise.logs.scrubbing import Scrubber
from fanwise.routes import Access, open_tokens
from fanwise.settings import load_settings

from ..support.live import Event, Events, Live, Talk, app_of, handshake, running, until
from .auth.test_tokens import confused, raw

pytestmark = pytest.mark.anyio

KEY = ed25519.Ed25519PrivateKey.generate()
API_KEY = "correct-horse"


def token(*, key: Any = KEY, kid: str = "now", algorithm: str = "EdDSA", **more: Any) -> str:
    """A token of Ann, who may read and write everything that begins with "a"."""
    now = int(time.time())
    claims = {"sub": "ann", "exp": now + 60, "aud": "chat", "iss": "https://id.example"}
    claims |= {"subscribe": ["a*", "fanwise.demo"], "publish": ["a*"], **more}
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})


BAD: dict[str, Callable[[], str]] = {
    "no token": lambda: "hello",
    "expired": lambda: token(exp=int(time.time()) - 1),
    "alg=none": lambda: raw('{"alg":"none"}', json.dumps({"sub": "ann", "exp": 1 << 40})),
    "HS256 by a public key": confused,
    "wrong aud": lambda: token(aud="mail"),
    "wrong iss": lambda: token(iss="https://evil.example"),
    "future nbf": lambda: token(nbf=int(time.time()) + 3_600),
    "unknown kid": lambda: token(kid="gone"),
    "another key": lambda: token(key=ed25519.Ed25519PrivateKey.generate()),
}


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("keys") / "keys.json"
    path.write_text(json.dumps({"keys": [{**json.loads(OKPAlgorithm.to_jwk(KEY.public_key())), "kid": "now"}]}))
    return str(path)


@asynccontextmanager
async def serving(key_file: str, *, read: str = "token", fast: bool = True, **more: Any) -> AsyncIterator[Live]:
    given = {"token_audience": "chat", "token_issuer": "https://id.example", "api_key": API_KEY, **more}
    app = create_app(load_settings(token_jwks=key_file, read=read, **given))
    async with running(app, fast=fast) as live:
        await app.state.broadcaster.publish("a", "old")
        live.broadcaster = app.state.broadcaster  # type: ignore[attr-defined]
        yield live


def bearer(given: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {given}"} if given else {}


async def refusal(opening: Awaitable[Any]) -> int:
    with pytest.raises(InvalidStatus) as refused:
        await opening
    return refused.value.response.status_code


async def talking(live: Live, given: str = "", *, offered: str = "") -> Talk:
    offers = [Subprotocol("fanwise.v1"), *([Subprotocol(f"fanwise.token.{offered}")] if offered else [])]
    talk = Talk(await live.connect(subprotocols=offers, additional_headers=bearer(given)))
    talk.welcome = await talk.hear()
    return talk


async def closed(talk: Talk) -> tuple[int, str]:
    """The code and the text of the end, past all messages before it."""
    try:
        while True:
            await talk.hear()
    except ConnectionClosed as end:
        return (0, "") if end.rcvd is None else (end.rcvd.code, end.rcvd.reason)


async def test_tokens_that_are_refused(key_file: str) -> None:
    """At each place where one may come; with 401, a code, and no word in the log but that."""
    async with serving(key_file) as live, await talking(live, API_KEY) as keyed:
        for name, make in BAD.items():
            given = make()
            assert await refusal(talking(live, given)) == 401, name
            assert await refusal(talking(live, offered=given)) == 401, name
            assert await refusal(live.connect("/ws?channel=a", additional_headers=bearer(given))) == 401, name
            for method, path in (("GET", "/channels/a/history"), ("GET", "/sse/a"), ("POST", "/publish/a")):
                answer = await live.request(method, path, headers=bearer(given))
                assert (answer.status, answer.code) == (401, "unauthorised"), (name, path)
            heard = await keyed.ask(op="authenticate", token=given)
            assert (heard["op"], heard["code"]) == ("error", "unauthorised"), name
        assert (await keyed.ask(op="authenticate", token=7))["code"] == "wrong_type"
        assert (await keyed.ask(op="authenticate", token="x" * 10_000))["code"] == "wrong_type"
        assert (await keyed.ask(op="subscribe", channel="a"))["op"] == "subscribed", "what was in force stays"


async def test_two_tokens_in_one_head(key_file: str) -> None:
    """Are none: a proxy in front may have looked at the other one. Of offered ones the first counts, of any number."""
    head = "HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    good, bad = f"Authorization: Bearer {token()}\r\n", f"Authorization: Bearer {token(exp=1)}\r\n"
    keys = f"X-API-Key: {API_KEY}\r\n", "X-API-Key: another\r\n"
    upgrade = handshake("/ws?channel=a").decode().removesuffix("\r\n")
    async with serving(key_file) as live:
        for one, two in ((good, bad), (bad, good), (good, good), keys, keys[::-1]):
            for begin in (f"GET /channels/a/history {head}", f"POST /publish/a {head}", f"GET /sse/a {head}", upgrade):
                reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
                writer.write(f"{begin}{one}{two}\r\n".encode())
                assert (await reader.read()).startswith(b"HTTP/1.1 401"), (begin, one, two)
                writer.close()
        offers = [Subprotocol(f"fanwise.token.{token()}"), *(Subprotocol(f"fanwise.token.{at}") for at in range(99))]
        async with await live.connect(subprotocols=[Subprotocol("fanwise.v1"), *offers]) as websocket:
            assert json.loads(await websocket.recv())["op"] == "welcome"
        assert await refusal(live.connect(subprotocols=[Subprotocol("fanwise.v1"), *offers[::-1]])) == 401


async def test_a_token_of_1_mb(key_file: str) -> None:
    """Ends its request or its connection, and nobody verifies it."""
    async with serving(key_file) as live:
        big = "x" * 1_000_000
        answer = await live.request("GET", "/channels/a/history", headers=bearer(big[:12_000]))
        assert (answer.status, "more than 8192" in answer.json["error"]["message"]) == (401, True)
        async with await talking(live) as talk:
            await talk.say(op="authenticate", token=big)
            assert (await closed(talk))[0] in (1009, 4501)


async def test_without_a_token(key_file: str) -> None:
    """Each route that can be read asks for one; probes, the page and its files do not."""
    async with serving(key_file) as live:
        for method, path in [
            *(("GET", f"/channels{more}") for more in ("", "/a/history", "/a/presence")),
            *(("GET", path) for path in ("/clients", "/stats", "/metrics", "/trace", "/sse/a")),
            *(("GET", path) for path in ("/docs", "/openapi.json", "/asyncapi.json")),
            ("DELETE", "/clients/a"),
            ("POST", "/publish/a"),
            ("POST", "/publish"),
            ("DELETE", "/demo"),
        ]:
            answer = await live.request(method, path)
            assert (answer.status, answer.code) == (401, "unauthorised"), path
            assert (await live.request(method, f"{path}?token={token()}")).status == 401, "a token in a URL is none"
        for path in ("/healthz", "/readyz", "/", "/demo"):
            assert (await live.request("GET", path)).status == 200, path
        assert await refusal(live.connect("/ws?channel=a")) == 401
        assert await refusal(live.connect("/live", subprotocols=[Subprotocol("fanwise.v1")])) == 401


Ask = Callable[[Live, str], Awaitable[bool]]  # returns whether it was allowed


def op(**fields: Any) -> Ask:
    async def ask(live: Live, given: str) -> bool:
        async with await talking(live, given) as talk:
            answer = await talk.ask(channel="a", **fields)
            assert answer["op"] != "error" or answer["code"] == "forbidden", answer
            return bool(answer["op"] != "error")

    return ask


def request(method: str, path: str, body: bytes = b"", **headers: str) -> Ask:
    async def ask(live: Live, given: str) -> bool:
        answer = await live.request(method, path, body, headers={**bearer(given), **headers})
        if body.startswith(b"["):
            return "error" not in answer.json["results"][0]
        assert answer.status in (200, 404) or (answer.status, answer.code) == (403, "forbidden")
        return answer.status != 403

    return ask


async def plain(live: Live, given: str) -> bool:
    try:
        async with await live.connect("/ws?channel=a", additional_headers=bearer(given)):
            return True
    except InvalidStatus as refused:
        return refused.response.status_code != 403


def stream(path: str, **headers: str) -> Ask:
    async def ask(live: Live, given: str) -> bool:
        async with live.events(path, headers={**bearer(given), **headers}) as events:
            return int(events.head.split()[1]) == 200

    return ask


SINCE = {"epoch": "0", "offset": 1}
ASKS: dict[str, tuple[Action, Ask]] = {
    "subscribe": (SUBSCRIBE, op(op="subscribe")),
    "the plain dialect": (SUBSCRIBE, plain),
    "a stream": (SUBSCRIBE, stream("/sse/a")),
    "resume": (HISTORY, op(op="subscribe", since=SINCE)),
    "a stream that resumes": (HISTORY, stream("/sse/a", **{"Last-Event-ID": "0:1"})),
    "history": (HISTORY, request("GET", "/channels/a/history")),
    "presence": (PRESENCE, op(op="presence")),
    "presence over HTTP": (PRESENCE, request("GET", "/channels/a/presence")),
    "publish": (PUBLISH, op(op="publish", data=1)),
    "publish over HTTP": (PUBLISH, request("POST", "/publish/a", b"x")),
    "a batch": (PUBLISH, request("POST", "/publish", b'[{"channel":"a","data":1}]')),
    "channels": (OPERATE, request("GET", "/channels")),
    "clients": (OPERATE, request("GET", "/clients")),
    "closing one": (OPERATE, request("DELETE", "/clients/x")),
    "stats": (OPERATE, request("GET", "/stats")),
}


async def test_what_a_token_does_not_name_is_forbidden(key_file: str) -> None:
    """On another channel; what it names is allowed, and a key has its roles."""
    async with serving(key_file, api_key=f"read:{API_KEY},the-whole-key") as live:
        nothing = token(subscribe=["b"], publish=["b"])
        everything = token(operate=True)
        for name, (action, ask) in ASKS.items():
            assert not await ask(live, nothing), name
            assert await ask(live, everything), name
            assert await ask(live, "the-whole-key"), name
            assert await ask(live, API_KEY) is (action in LISTENING or name == "channels"), name


@pytest.mark.parametrize("omitted", [SUBSCRIBE, HISTORY, PRESENCE, PUBLISH])
async def test_an_omission_would_be_seen(key_file: str, omitted: Action, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were rights not asked for one action, what needs no other would be allowed by the table above."""
    asked = Rights.check

    def check(self: Rights, action: Action, channel: str) -> Any:
        return None if action is omitted else asked(self, action, channel)

    monkeypatch.setattr(Rights, "check", check)
    async with serving(key_file) as live:
        given = token(subscribe=["b"], publish=["b"])
        found = {name for name, (_, ask) in ASKS.items() if await ask(live, given)}
    resumes = {"resume", "a stream that resumes"}  # which need the right to subscribe, too
    assert found == {name for name, (action, _) in ASKS.items() if action is omitted} - resumes


async def test_the_token_may_come_in_the_first_message(key_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And in no later one."""
    monkeypatch.setattr("fanwise.routes.websocket.TOKEN_SECONDS", 0.3)
    async with serving(key_file) as live:
        talk, other, silent = await talking(live), await talking(live), await talking(live)
        assert "expires_in" not in talk.welcome
        assert (await talk.ask(op="authenticate", token="hello"))["code"] == "unauthorised"
        answer = await talk.ask(op="authenticate", token=token(info={"name": "Ann"}))
        assert (answer["op"], answer["user"], 55 < answer["expires_in"] <= 60) == ("authenticated", "ann", True)
        assert (await talk.ask(op="subscribe", channel="a"))["op"] == "subscribed"
        assert (await talk.ask(op="publish", channel="b", data=1))["code"] == "forbidden"
        assert (await other.ask(op="subscribe", channel="a"))["code"] == "unauthorised"
        assert await closed(other) == (4501, "unauthorised: this asks for a key or a token")
        assert (await closed(silent))[0] == 4501
        listed = (await live.request("GET", "/clients", headers=bearer(API_KEY))).json["clients"]
        assert [(one["user"]["id"], one["user"]["info"]) for one in listed] == [("ann", {"name": "Ann"})]
        await talk.websocket.close()


async def test_a_connection_ends_with_its_token(key_file: str) -> None:
    """In both dialects and as an event stream, with 4013; one whose token was followed by another goes on."""

    async def look(*, fast: bool) -> None:
        async with serving(key_file, fast=fast) as live:
            short = token(exp=int(time.time()) + 3)
            talk, again = await talking(live, short), await talking(live, offered=short)
            assert 0 < talk.welcome["expires_in"] <= 3
            assert (await again.ask(op="subscribe", channel="a"))["op"] == "subscribed"
            answer = await again.ask(op="authenticate", token=token(exp=int(time.time()) + 600))
            assert answer["op"] == "authenticated"
            plain = await live.connect("/ws?channel=a", additional_headers=bearer(short))
            async with live.events("/sse/a", headers=bearer(short)) as events:
                began = time.monotonic()
                assert await closed(talk) == (4013, "expired")
                await plain.wait_closed()
                assert plain.close_code == 4013
                told = [event.data async for event in all_of(events)]
                assert json.loads(told[-1])["code"] == 4013
                assert time.monotonic() - began < 3 + 5
            assert (await again.ask(op="publish", channel="a", data=1))["op"] in ("published", "message")
            assert live.broadcaster.statistics().closed["expired"] == 3  # type: ignore[attr-defined]
            await again.websocket.close()

    await asyncio.gather(look(fast=True), look(fast=False))


async def all_of(events: Events) -> AsyncIterator[Event]:
    """The events up to the end of the stream."""
    while (event := await events.next()) is not None:
        yield event


async def test_a_refresh_changes_the_rights(key_file: str) -> None:
    """Channels that the new token does not name are left; the user stays the same."""
    async with serving(key_file) as live, await talking(live, token(subscribe=["*"])) as talk:
        for channel in ("a", "b"):
            assert (await talk.ask(op="subscribe", channel=channel))["op"] == "subscribed"
        stolen = await talk.ask(op="authenticate", token=token(sub="bob", subscribe=["*"]))
        assert stolen["code"] == "forbidden"
        assert (await talk.ask(op="publish", channel="a", data=1))["op"] in ("published", "message")
        await talk.hear()
        assert await talk.ask(op="authenticate", token=token(publish=[])) == {"op": "unsubscribed", "channel": "b"}
        assert (await talk.hear())["op"] == "authenticated"
        assert (await talk.ask(op="publish", channel="a", data=1))["code"] == "forbidden"
        assert (await talk.ask(op="subscribe", channel="b"))["code"] == "forbidden"


@pytest.mark.parametrize("read", ["open", "key"])
async def test_tokens_where_listening_asks_for_none(key_file: str, read: str) -> None:
    """They are for publishing, and end a connection all the same. A wrong one is refused."""
    key = API_KEY if read == "key" else ""
    async with serving(key_file, read=read) as live, await talking(live, key) as talk:
        assert (await talk.ask(op="subscribe", channel="b"))["op"] == "subscribed"
        assert (await live.request("GET", "/channels", headers=bearer(key))).status == 200
        assert await refusal(talking(live, "hello")) == 401
        if read == "open":
            assert (await talk.ask(op="publish", channel="a", data=1))["code"] == "unauthorised"
            assert (await talk.ask(op="authenticate", token=token()))["op"] == "authenticated"
            assert (await talk.ask(op="publish", channel="a", data=1))["op"] == "published"
            assert (await live.request("GET", "/clients")).status == 401
        else:
            assert await refusal(live.connect("/ws?channel=a", additional_headers=bearer(token()))) == 403
            assert (await live.request("POST", "/publish/a", b"x", headers=bearer(token()))).status == 200


async def test_a_server_without_tokens_says_so() -> None:
    """In one answer; a listener with a key alone is no user."""
    app = create_app(load_settings())
    async with running(app) as live, await live.talk() as talk:
        answer = await talk.ask(op="authenticate", token=token())
        assert (answer["op"], answer["code"]) == ("error", "unauthorised")
        assert (await talk.ask(op="subscribe", channel="a"))["op"] == "subscribed"


async def test_no_token_in_the_log(key_file: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a good one nor one that is refused, at any level."""
    caplog.set_level(logging.DEBUG)
    async with serving(key_file) as live:
        good, bad = token(), token(kid="gone")
        async with await talking(live, offered=good) as talk:
            await talk.ask(op="authenticate", token=bad)
        await refusal(talking(live, offered=bad))
        await live.request("GET", "/channels/a/history", headers=bearer(bad))
        await live.request("GET", f"/sse/a?token={good}")
    for record in caplog.records:
        line = f"{record.getMessage()} {record.args}"
        for given in (good, bad):
            assert given not in line or record.name in ("websockets.client", "uvicorn.access"), record.name
            assert given not in Scrubber().clean(line, 10_000)


async def test_the_demo_listens_by_the_rights_of_who_starts_it(key_file: str) -> None:
    """Its clients are clients as others are."""
    plan = json.dumps({"clients": 2, "rate": 10, "size": 100}).encode()
    async with serving(key_file, api_key=f"operate:{API_KEY},the-whole-key") as live:
        assert (await live.request("PUT", "/demo", plan, headers=bearer(API_KEY))).status == 403
        answer = await live.request("PUT", "/demo", plan, headers=bearer("the-whole-key"))
        assert answer.status == 200, answer.body
        await until(lambda: len(live.broadcaster) == 2)  # type: ignore[attr-defined]
        assert (await live.request("DELETE", "/demo", headers=bearer("the-whole-key"))).status == 204


async def test_behind_a_backplane() -> None:
    """An answer to `authenticate` comes behind those of publications before it, and a token ends its connection."""
    engine = MemoryEngine()
    tokens = open_tokens(key="a secret of thirty-two bytes.....")
    access = Access(tokens=tokens, read="token")
    broadcaster = Broadcaster(backplane=engine.backplane(), access=access, trim_heap=False)
    given = partial(token, key="a secret of thirty-two bytes.....", algorithm="HS256")
    async with running(app_of(broadcaster.router)) as live, await talking(live, given(subscribe=["*"])) as talk:
        for channel in ("a", "b"):
            assert (await talk.ask(op="subscribe", channel=channel))["op"] == "subscribed"
        for number in range(20):
            await talk.say(op="publish", channel="a", data=number, id=number)
        await talk.say(op="authenticate", token=given())
        await talk.say(op="publish", channel="b", data=1)
        heard = [one for one in [await talk.hear() for _ in range(43)] if one["op"] != "message"]
        assert [one.get("id", one["op"]) for one in heard] == [*range(20), "unsubscribed", "authenticated", "error"]
        silent = await talking(live, given(exp=int(time.time()) + 3))
        assert await closed(silent) == (4013, "expired")


async def test_channels_whose_rights_cannot_be_told_are_left() -> None:
    """All of them, whatever the application raises for the first: a refresh never leaves more than a token names."""
    away = False

    async def authorise(_user: object, _action: Action, _channel: str) -> bool:
        if away:
            raise BackplaneDownError("the database is away")
        return True

    secret = "a secret of thirty-two bytes....."
    access = Access(tokens=open_tokens(key=secret), read="token", authorise=authorise)
    given = partial(token, key=secret, algorithm="HS256", subscribe=["*"])
    async with running(app_of(Broadcaster(access=access, trim_heap=False).router)) as live:  # noqa: SIM117
        async with await talking(live, given()) as talk:
            for channel in ("a", "b"):
                await talk.ask(op="subscribe", channel=channel)
            away = True
            await talk.say(op="authenticate", token=given(exp=int(time.time()) + 90))
            assert [(await talk.hear())["op"] for _ in range(3)] == ["unsubscribed", "unsubscribed", "authenticated"]
