from __future__ import annotations

from contextlib import ExitStack

import pytest

from fanwise.backplane.redis.address import Address, parse
from fanwise.backplane.redis.dial import dial
from fanwise.backplane.redis.link import LinkError
from fanwise.backplane.redis.primary import has_moved, look_seconds, primary

from ...support.engines import RedisServer, redis_server
from ...support.processes import free_port

pytestmark = pytest.mark.anyio
LOCAL = "127.0.0.1"


def sentinel(stack: ExitStack, watched: int, *more: str) -> tuple[RedisServer, int]:
    port = free_port()
    options = ("--sentinel", "--sentinel", "monitor", "main", LOCAL, str(watched), "1", "--port", str(port), *more)
    return stack.enter_context(redis_server(*options, config=True)), port


async def test_most_of_the_sentinels_are_believed() -> None:
    """One that knows another primary is outvoted; those that are away, hang, or want a password are left out."""
    port, other = free_port(), free_port()
    with ExitStack() as stack:
        main = stack.enter_context(redis_server("--port", str(port), "--requirepass", "word"))
        await main.ready()
        watching = [sentinel(stack, watched) for watched in (other, port, port)]
        locked = sentinel(stack, port, "--requirepass", "word")
        for server, _ in (*watching, locked):
            await server.ready()
        hosts = tuple((LOCAL, one) for one in (free_port(), *(one for _, one in (*watching, locked))))
        assert await primary(Address(hosts=hosts, service="main")) == (LOCAL, port)
        assert await primary(Address(hosts=hosts[:2], service="main")) == (LOCAL, other)
        with pytest.raises(LinkError, match=r"no sentinel of redis.sentinel://.* knows where unknown is"):
            await primary(Address(hosts=hosts, service="unknown"))
        alone = Address(hosts=hosts[4:], service="main", password="word")
        assert await primary(alone) == (LOCAL, port)
        dialled = await dial(alone, "fanwise-x", durable=False, on_push=lambda _: None, on_lost=lambda _: None)
        assert not await has_moved(alone, dialled.place, dialled.link.peer)
        assert await has_moved(Address(hosts=hosts[1:2], service="main"), dialled.place, dialled.link.peer)
        watching[0][0].hang()
        assert not await has_moved(Address(hosts=hosts[1:2], service="main"), dialled.place, dialled.link.peer)
        dialled.link.abort()


@pytest.mark.parametrize(
    ("url", "seconds"),
    [
        ("redis+sentinel://127.0.0.1,127.0.0.2/main", 5.0),
        ("redis://redis.example", 30.0),
        ("redis://127.0.0.1", None),
        ("redis://[::1]:7000", None),
        ("unix:///run/redis", None),
    ],
)
def test_what_can_lead_elsewhere_is_looked_at(url: str, seconds: float | None) -> None:
    """Sentinels often, names rarely."""
    assert look_seconds(parse(url)) == seconds


async def test_a_name_that_leads_elsewhere() -> None:
    """The place that was connected to is none of those that the name has now."""
    address = parse("redis://localhost:7000")
    assert not await has_moved(address, ("localhost", 7000), (LOCAL, 7000))
    assert await has_moved(address, ("localhost", 7000), ("192.0.2.1", 7000))
