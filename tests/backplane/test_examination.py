from __future__ import annotations

import pytest

from fanwise.backplane.examination import examine
from fanwise.errors import SettingsError

from ..support.engines import redis_server
from ..support.nats import nats_server

pytestmark = pytest.mark.anyio
LIMIT = ("--maxmemory", "100mb", "--client-output-buffer-limit", "pubsub 1mb 0 0")


async def test_redis_tells_of_itself() -> None:
    """Its version, and the parameters that decide what is lost; the trial leaves nothing behind."""
    with redis_server(*LIMIT) as server:
        await server.ready()
        (facts,) = await examine(server.url, prefix="p", durable=False)
        assert facts.engine.startswith(("redis ", "valkey "))
        assert facts[:2] == (server.url, "")
        assert 0 < facts.ping_seconds < 10
        assert facts[4:] == (104_857_600, "noeviction", "off", 0, 1_048_576)
        await server.ask("CONFIG", "SET", "appendonly", "yes")
        await server.ask("CONFIG", "SET", "appendfsync", "always")
        (facts,) = await examine(server.url, prefix="p", durable=True)
        assert facts.fsync == "always"
        rights = ("~other:*", "&*", "+@all", "-config", "nopass")
        await server.ask("ACL", "SETUSER", "default", "reset", "on", *rights)
        (facts,) = await examine(server.url, prefix="p", durable=False)
        assert "NOPERM" in facts.problem
        assert (facts.fsync, facts.pushed_bytes) == ("", None)


async def test_nats_tells_of_itself() -> None:
    """As far as there is something to tell."""
    with nats_server() as server:
        await server.ready()
        (facts,) = await examine(server.url, prefix="p", durable=False)
        assert (facts.problem, facts.engine.split()[0]) == ("", "nats-server")


async def test_what_cannot_be_asked() -> None:
    """Each engine with its problem; a URL that is none is the caller's mistake."""
    told = await examine("redis://127.0.0.1:1 unix:///nowhere/s", prefix="p", durable=False)
    assert [one.address for one in told] == ["redis://127.0.0.1:1", "unix:///nowhere/s"]
    assert all(one.problem and not one.engine for one in told)
    (facts,) = await examine("nats://127.0.0.1:1", prefix="p", durable=False)
    assert facts.problem
    with pytest.raises(SettingsError, match="its scheme is none of"):
        await examine("http://h", prefix="p", durable=False)
