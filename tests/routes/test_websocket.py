from __future__ import annotations

import pytest
from fastapi import FastAPI
from websockets.exceptions import InvalidStatus

from fanwise.broadcaster.node import Node
from fanwise.routes.auth.guards import Access
from fanwise.routes.router import build_router
from fanwise.routes.websocket import split_template

from ..support.live import app_of, running, until

pytestmark = pytest.mark.anyio

FAST = pytest.mark.parametrize("fast", [True, False], ids=["protocol class", "plain ASGI"])


def make_app(broadcaster: Node, *, template: str = "Message: {text}") -> FastAPI:
    return app_of(build_router(broadcaster, template=template))


@FAST
async def test_the_story_of_a_b_and_c(fast: bool) -> None:
    """The plain dialect step by step: who is there, and who gets what."""
    broadcaster = Node()

    def clients() -> int:
        return len(broadcaster.statistics().clients)

    async with running(make_app(broadcaster), fast=fast) as live:
        a = await live.connect()
        await until(lambda: clients() == 1)
        b = await live.connect()
        await until(lambda: clients() == 2)
        await a.send("Hello")
        assert [await a.recv(), await b.recv()] == ["Message: Hello"] * 2
        await b.send("Hi")
        assert [await a.recv(), await b.recv()] == ["Message: Hi"] * 2
        await a.close()
        await until(lambda: clients() == 1)
        await b.send("Bye")
        assert await b.recv() == "Message: Bye"
        await b.close()
        await until(lambda: clients() == 0)
        c = await live.connect()
        await c.send("Anybody?")
        assert await c.recv() == "Message: Anybody?"
        await c.close()


@FAST
async def test_binary_stays_binary(fast: bool) -> None:
    """The template is for texts."""
    async with running(make_app(Node()), fast=fast) as live, await live.connect() as peer:
        await peer.send(b"\x00\xff")
        assert await peer.recv() == b"\x00\xff"


@FAST
async def test_another_channel(fast: bool) -> None:
    """`?channel=NAME` joins it, and hears only it."""
    async with (
        running(make_app(Node()), fast=fast) as live,
        await live.connect("/ws?channel=one") as one,
        await live.connect("/ws?channel=two/a:b") as two,
    ):
        await one.send("1")
        await two.send("2")
        assert [await one.recv(), await two.recv()] == ["Message: 1", "Message: 2"]


@FAST
@pytest.mark.parametrize("query", ["channel=", "channel=a%20b", "channel=" + "x" * 256, "channel=%C3%A4"])
async def test_a_bad_channel_name_is_refused_before_the_handshake(
    fast: bool, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With status 400 and a sentence that says what is allowed; under our protocol class it is no error of ours."""
    broadcaster = Node()
    async with running(make_app(broadcaster), fast=fast) as live:
        with pytest.raises(InvalidStatus) as caught:
            await live.connect(f"/ws?{query}")
        assert caught.value.response.status_code == 400
        assert b"1 to 255 characters of A-Z a-z 0-9 . _ : / -" in bytes(caught.value.response.body)
        assert broadcaster.statistics().channels == ()
    assert not fast or [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_full_server_says_so() -> None:
    """With status 503, before the handshake; those who are there stay."""
    async with running(make_app(Node(max_clients=1))) as live, await live.connect() as first:
        with pytest.raises(InvalidStatus) as caught:
            await live.connect()
        assert caught.value.response.status_code == 503
        await first.send("still here")
        assert await first.recv() == "Message: still here"


async def test_what_the_template_makes_too_long_ends_nothing() -> None:
    """A message above the limit is not published; its sender is told and the others stay."""
    broadcaster = Node(max_message_bytes=12)
    async with (
        running(make_app(broadcaster)) as live,
        await live.connect() as sender,
        await live.connect() as other,
    ):
        await until(lambda: len(broadcaster.statistics().clients) == 2)
        await sender.send("too long")
        await sender.wait_closed()
        assert sender.close_code == 1009
        await other.send("ok")
        assert await other.recv() == "Message: ok"


@pytest.mark.parametrize(("template", "parts"), [("Message: {text}", ("Message: ", "")), ("<{text}>", ("<", ">"))])
def test_templates(template: str, parts: tuple[str, str]) -> None:
    """What stands before the text, and what after it."""
    assert split_template(template) == parts


@pytest.mark.parametrize("template", ["", "text", "{text}{text}"])
def test_a_template_without_its_text(template: str) -> None:
    """Is an error that shows it."""
    with pytest.raises(ValueError, match="exactly once"):
        split_template(template)


@FAST
@pytest.mark.parametrize("subprotocols", [None, ["fanwise.v1"]])
async def test_pages_of_other_hosts_are_refused_before_the_handshake(
    fast: bool, subprotocols: list[str] | None
) -> None:
    """They get 403 before the handshake; those of this host, and those that are named, may."""
    broadcaster = Node()
    app = app_of(build_router(broadcaster, access=Access(allowed_origins=["https://friend.org"])))
    async with running(app, fast=fast) as live:
        for origin, allowed in (
            ("http://evil.com", False),
            ("null", False),
            (f"http://127.0.0.1:{live.port + 1}", False),
            (f"http://127.0.0.1:{live.port}", True),
            ("https://friend.org", True),
        ):
            if allowed:
                await (await live.connect(origin=origin, subprotocols=subprotocols)).close()
                continue
            with pytest.raises(InvalidStatus) as caught:
                await live.connect(origin=origin, subprotocols=subprotocols)
            assert caught.value.response.status_code == 403
            assert b"FANWISE_ALLOWED_ORIGINS" in bytes(caught.value.response.body)
        assert broadcaster.statistics().closed.get("lost") is None


@FAST
async def test_plain_clients_need_the_key_to_publish(fast: bool) -> None:
    """They may listen without; who sends something is closed with 4501, and nothing of it is published."""
    broadcaster = Node()
    app = app_of(build_router(broadcaster, access=Access(api_key="correct-horse")))
    async with running(app, fast=fast) as live, await live.connect() as listener, await live.connect() as stranger:
        await stranger.send("spam")
        await stranger.wait_closed()
        assert stranger.close_code == 4501
        async with await live.connect(additional_headers={"X-API-Key": "correct-horse"}) as friend:
            await friend.send("news")
            assert await listener.recv() == "Message: news"
            with pytest.raises(InvalidStatus) as caught:
                await live.connect(additional_headers={"X-API-Key": "wrong"})
            assert caught.value.response.status_code == 401
