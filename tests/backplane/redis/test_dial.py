from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fanwise.backplane.redis.address import parse
from fanwise.backplane.redis.dial import Dialled, dial
from fanwise.backplane.redis.link import LinkError
from fanwise.errors import SettingsError

from ...support.engines import RedisServer, redis_server
from ...support.processes import free_port

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    app = ("--user", "app", "on", ">word", "~fanwise:*", "&fanwise:*", "+@all")
    users = ("--requirepass", "s3cret", *app, "--user", "none", "on", ">word", "-@all")
    with redis_server(*users) as server:
        yield server


async def dialled(url: str, *, durable: bool = False) -> Dialled:
    found = await dial(parse(url), "fanwise-x", durable=durable, on_push=lambda _: None, on_lost=lambda _: None)
    found.link.abort()
    return found


async def test_who_is_there(server: RedisServer) -> None:
    """Its name and version, and the lineage of its data, which a restart changes."""
    await server.ready()
    found = await dialled(server.url)
    assert found.engine.split()[0] in {"redis", "valkey"}
    assert len(found.lineage) == 40
    assert set(found.scripts) == {"publish", "verify", "open", "workers"}
    assert (await dialled(server.url)).lineage == found.lineage


@pytest.mark.parametrize("login", ["", ":wrong@", "app:wrong@", "nobody:word@", "none:word@"])
async def test_a_wrong_login_is_for_good(guarded: RedisServer, login: str) -> None:
    """The answer of the engine is named, and no password."""
    await guarded.ready()
    with pytest.raises(SettingsError, match=r"backplane unix:///.*(NOAUTH|WRONGPASS|NOPERM)") as caught:
        await dialled(f"unix://{login}{guarded.socket}")
    assert "word" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize("login", [":s3cret@", "app:word@"])
async def test_the_right_login(guarded: RedisServer, login: str) -> None:
    """The default user's, or that of a user who has only our keys and channels."""
    await guarded.ready()
    assert (await dialled(f"unix://{login}{guarded.socket}")).lineage


async def test_what_is_not_there_is_worth_another_attempt(tmp_path: Path) -> None:
    """As an OSError."""
    with pytest.raises(OSError, match="No such file"):
        await dialled(f"unix://{tmp_path}/s")
    with pytest.raises(OSError, match=r"Connect call failed|refused"):
        await dialled(f"redis://127.0.0.1:{free_port()}")


async def test_a_replica_is_worth_another_attempt() -> None:
    """It may become the primary."""
    port = free_port()
    with redis_server("--replicaof", "127.0.0.1", str(port)) as replica:
        await replica.ready()
        with pytest.raises(LinkError, match="is a replica"):
            await dialled(replica.url)
