"""A new link: who is there, may we, and the scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, Final, NamedTuple

import hiredis

from ...errors import SettingsError
from .address import Address
from .link import Link, LinkError
from .primary import Place, primary

DIAL_SECONDS: Final = 2.0
_LEAST: Final = (6, 2)
SCRIPTS: Final[Mapping[str, str]] = {
    name: files(__package__).joinpath(f"{name}.lua").read_text() for name in ("publish", "verify", "open", "workers")
}
# Answers that another attempt does not change: the operator has to.
_REFUSALS: Final = ("WRONGPASS", "NOAUTH", "NOPERM", "NOPROTO", "ERR", "LAYOUT")
_FULL: Final = "ERR max number of clients"


class Dialled(NamedTuple):
    """A link, and what is at its end.

    Attributes:
        lineage: Changes when the engine starts again, or another one takes its place.
        engine: Name and version.
        scripts: {name: SHA1} of the scripts, which are loaded.
        place: Host and port that were connected to; None for a Unix socket.
    """

    link: Link
    lineage: str
    engine: str
    scripts: dict[str, str]
    place: Place | None


async def dial(
    address: Address,
    name: str,
    *,
    durable: bool,
    on_push: Callable[[bytes], None],
    on_lost: Callable[[Link], None],
) -> Dialled:
    """Connects to the primary at `address`; nothing is subscribed to yet.

    Raises:
        OSError: It cannot be reached, is a replica, or starts (LinkError, TimeoutError).
        SettingsError: It refuses us for good.
    """
    async with asyncio.timeout(DIAL_SECONDS):
        place = None if address.path else await primary(address) if address.service else address.hosts[0]
        link = await _connect(address, place, name, on_push, on_lost)
        try:
            return await _examine(link, address, place, durable=durable)
        except BaseException:
            link.abort()
            raise


async def _connect(
    address: Address,
    place: Place | None,
    name: str,
    on_push: Callable[[bytes], None],
    on_lost: Callable[[Link], None],
) -> Link:
    loop = asyncio.get_running_loop()
    if place is None:
        _, link = await loop.create_unix_connection(lambda: Link(on_push, on_lost), address.path)
    else:
        _, link = await loop.create_connection(lambda: Link(on_push, on_lost), *place, ssl=address.context())
    await _greet(link, address, name)
    return link


async def _greet(link: Link, address: Address, name: str) -> None:
    try:
        await link.ask("HELLO", 3, *address.login, "SETNAME", name)
    except hiredis.ReplyError as error:
        link.abort()
        raise refusal(address, error) from error
    except BaseException:
        link.abort()
        raise


async def _examine(link: Link, address: Address, place: Place | None, *, durable: bool) -> Dialled:
    try:
        facts = _facts(await link.ask("INFO"))
        _check(facts, address, durable=durable)
        scripts = {name: (await link.ask("SCRIPT", "LOAD", text)).decode() for name, text in SCRIPTS.items()}
    except hiredis.ReplyError as error:
        raise refusal(address, error) from error
    engine = f"valkey {facts['valkey_version']}" if "valkey_version" in facts else f"redis {facts['redis_version']}"
    return Dialled(link, facts.get("master_replid", ""), engine, scripts, place)


def _facts(info: Any) -> dict[str, str]:
    text = info.decode() if isinstance(info, bytes) else str(info)
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def _check(facts: dict[str, str], address: Address, *, durable: bool) -> None:
    version = facts.get("redis_version", "0")
    if tuple(map(int, version.split(".")[:2])) < _LEAST:
        raise SettingsError([f"backplane {address}: it is Redis {version}; 6.2 and later, or Valkey, will do"])
    if facts.get("cluster_enabled") == "1":
        raise SettingsError([f"backplane {address}: it is a Redis Cluster; give the URLs of single primaries"])
    if facts.get("role") != "master":
        raise LinkError(f"{address} is a replica")
    if facts.get("loading") == "1":
        raise LinkError(f"{address} loads its data")
    if not facts.get("master_replid") and not durable:
        problem = "it hides its replication ID, by which a restart is noticed: set FANWISE_BACKPLANE_DURABLE"
        raise SettingsError([f"backplane {address}: {problem}"])


def refusal(address: Address, error: hiredis.ReplyError) -> Exception:
    """Returns what an error of Redis at the beginning is: for good, or worth another attempt."""
    text = str(error)
    if text.startswith(_REFUSALS) and not text.startswith(_FULL):
        return SettingsError([f"backplane {address}: {text}"])
    return LinkError(f"{address}: {text}")
