from __future__ import annotations

import pytest

from fanwise.broadcaster.node import Node
from fanwise.routes.auth.guards import Access
from fanwise.routes.clients import Clients

from ..support.live import until
from .test_json_session import serving

pytestmark = pytest.mark.anyio


async def test_clients_are_listed_and_can_be_closed() -> None:
    """Those furthest behind first; who was closed stands among those who have gone, with the reason."""
    broadcaster = Node(stall_seconds=60)
    async with serving(broadcaster) as live, await live.talk() as talk:
        stuck = await live.raw("/ws?channel=a", receive_buffer=4096)
        await talk.ask(op="subscribe", channel="b")
        await until(lambda: len(broadcaster) == 2)
        await broadcaster.publish("a", b"x" * 60_000)
        for _ in range(200):
            await broadcaster.publish("a", b"x" * 5_000)

        def behind() -> list[float]:
            return [client.behind_seconds for client in broadcaster.statistics().clients if client.behind_seconds]

        await until(lambda: bool(behind()))
        answer = (await live.request("GET", "/clients")).json
        Clients.model_validate(answer)
        first, second = answer["clients"]
        assert (first["dialect"], first["channels"], first["state"]) == ("plain", ["a"], "behind")
        assert first["lag"] > 0
        assert first["lag_bytes"] > first["lag"] * 5_000 - 1
        assert first["behind_seconds"] > 0
        assert (second["id"], second["dialect"], second["lag"]) == (talk.welcome["client"], "fanwise.v1", 0)
        assert second["address"].startswith("127.0.0.1:")
        on_b = (await live.request("GET", "/clients?channel=b")).json
        assert ([one["id"] for one in on_b["clients"]], on_b["total"]) == ([second["id"]], 1)
        assert (await live.request("GET", "/clients?channel=none")).json["total"] == 0
        assert (await live.request("DELETE", f"/clients/{second['id']}")).status == 204
        assert (await live.request("DELETE", f"/clients/{second['id']}")).code == "no_client"
        gone = (await live.request("GET", "/clients?limit=1")).json
        assert (gone["total"], gone["closed"][0]["id"]) == (1, second["id"])
        assert (gone["closed"][0]["reason"], gone["closed"][0]["code"]) == ("operator", 4503)
        stuck.close()


async def test_clients_ask_for_the_key() -> None:
    """Looking at them, and closing one; channels are open to all, but not to pages of other hosts."""
    async with serving(Node(), access=Access(api_key="correct-horse")) as live, await live.talk() as talk:
        closing = ("DELETE", f"/clients/{talk.welcome['client']}")
        for method, path in (("GET", "/clients"), closing):
            assert (await live.request(method, path)).code == "unauthorised"
        assert (await live.request("GET", "/channels")).status == 200
        for path in ("/channels", "/channels/a/history", "/clients", "/sse/a"):
            assert (await live.request("GET", path, headers={"Origin": "http://evil.com"})).code == "bad_origin"
        assert (await live.request(*closing, headers={"X-API-Key": "correct-horse"})).status == 204
