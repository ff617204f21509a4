"""A new link: who is there, and may we."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from typing import Any, Final

import orjson

from ...errors import SettingsError
from ...version import SERVER_VERSION
from .address import Address
from .link import NO_RESPONDERS, Delivery, Link, LinkError

DIAL_SECONDS: Final = 2.0
_LEAST: Final = (2, 10)
_NAME_BYTES: Final = 8
_REFUSALS: Final = ("authorization", "authentication", "permissions", "account")


class ApiError(Exception):
    """What JetStream has answered in place of what it was asked for.

    Attributes:
        status: As of HTTP.
        code: Of JetStream's own list of errors; 0 if it has named none.
    """

    def __init__(self, status: int, code: int, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.code = code


async def dial(address: Address, attempt: int, name: str, on_lost: Callable[[Link], None]) -> Link:
    """Connects to one of the servers at `address`; another one with each `attempt`.

    Raises:
        OSError: It cannot be reached (LinkError, TimeoutError).
        SettingsError: It refuses us for good.
    """
    host, port = address.hosts[attempt % len(address.hosts)]
    inbox = f"_INBOX.{secrets.token_hex(_NAME_BYTES)}"
    async with asyncio.timeout(DIAL_SECONDS):
        _, link = await asyncio.get_running_loop().create_connection(lambda: Link(inbox, on_lost), host, port)
        try:
            await link.greeted
            if address.tls or link.info.get("tls_required"):
                await _secure(link, address, host)
            await _greet(link, address, name)
            _check(link, address)
        except BaseException:
            link.abort()
            raise
    return link


async def _secure(link: Link, address: Address, host: str) -> None:
    if not (link.info.get("tls_required") or link.info.get("tls_available")):
        raise SettingsError([f"backplane {address}: the server has no TLS"])
    await link.secure(address.context(), host)


async def _greet(link: Link, address: Address, name: str) -> None:
    options: dict[str, Any] = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True}
    options |= {"lang": "python", "version": SERVER_VERSION, "protocol": 1, "name": name}
    if address.password:
        options |= {"user": address.user, "pass": address.password}
    elif address.user:
        options["auth_token"] = address.user
    try:
        await link.greet(options)
    except LinkError as error:
        if link.error.lower().startswith(_REFUSALS):
            raise SettingsError([f"backplane {address}: {link.error}"]) from error
        raise


def _check(link: Link, address: Address) -> None:
    version = str(link.info.get("version", "0"))
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < _LEAST:
        raise SettingsError([f"backplane {address}: it is nats-server {version}; 2.10 and later will do"])


async def api(link: Link, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Asks JetStream for something, and returns its answer. Raises ApiError and LinkError."""
    return read_answer(await link.ask(f"$JS.API.{name}", orjson.dumps(body) if body else b""))


def read_answer(reply: Delivery) -> dict[str, Any]:
    """Returns what JetStream has answered. Raises ApiError."""
    if reply.status == NO_RESPONDERS or not reply.data:  # or a leader that goes, and has no words left
        raise ApiError(NO_RESPONDERS, 0, "JetStream does not answer")
    answer: dict[str, Any] = orjson.loads(reply.data)
    error = answer.get("error")
    if error is not None:
        raise ApiError(error.get("code", 0), error.get("err_code", 0), error.get("description", ""))
    return answer
