"""Which life of the data this is: each has a stream of its own, and a witness names the present one.

The witness is a message in a stream that is gone when the engine's data may be: in memory, unless the data is durable.
A node that finds no witness, or a witness without its stream, begins another life: it names it first, deletes the
streams of earlier lives, and makes the new one. A node that hears of a new life finds its stream only after the earlier
ones are gone: nothing is acknowledged in them any more.
"""

from __future__ import annotations

import base64
import secrets
import time
from typing import Any, Final, NamedTuple

from ...errors import SettingsError
from ..options import Options
from .address import Address
from .dial import ApiError, api, read_answer
from .link import Link, LinkError
from .messages import nanoseconds, token_of

LAYOUT: Final = 1  # of subjects and messages; another one needs another prefix
EXPECTED: Final = b"Nats-Expected-Last-Subject-Sequence: %d\r\n"
STREAM_FACTOR: Final = 8  # of `live_bytes`: the stream has the histories as well
CHANNEL_SECONDS: Final = 86_400  # how long a channel stays that nobody publishes to
LEAST_HISTORY: Final = 64  # messages of a channel
_REPEAT_SECONDS: Final = 300  # in which the stream knows a request that is sent again
_LIFE_BYTES: Final = 8
_WITNESS_BYTES: Final = 65_536
_NOT_FOUND: Final = 404
_PASSING: Final = (408, 503)  # statuses of errors that another attempt may not meet
_DISABLED: Final = (10039, 10076)  # codes of JetStream: it is not enabled, for this account or at all
_NANOSECONDS: Final = 1_000_000_000


class Life(NamedTuple):
    """A life of the data.

    Attributes:
        stream: Its stream.
        base: What the subjects of its channels begin with.
        last: Sequence of the newest message.
        ahead_ms: How far the clock of this machine is ahead of the engine's.
    """

    stream: str
    base: str
    last: int
    ahead_ms: int


class Lives:
    """Finds the present life, or begins one.

    Args:
        address: The engine, for messages.
        options: Bounds and promises.
        patience_seconds: How long the node that has named a life may take to make its stream.
    """

    def __init__(self, address: Address, options: Options, *, patience_seconds: float) -> None:
        self._address = address
        self._options = options
        self._patience_seconds = patience_seconds
        self._prefix = token_of(options.prefix)
        self._witness = f"{self._prefix}-life"
        self._subject = f"{self._prefix}.life"
        self._met = ""  # the latest life whose stream was there
        self._missing = ("", 0.0)  # a life without a stream, and since when that is known

    async def find(self, link: Link) -> Life:
        """Returns the present life.

        Raises:
            LinkError: Another node is about to begin one, or JetStream does not answer.
            SettingsError: JetStream refuses.
        """
        try:
            return await self._find(link)
        except ApiError as error:
            problem = f"JetStream: {error}" + (f"; {link.error}" if link.error else "")
            if error.status in _PASSING and error.code not in _DISABLED:
                raise LinkError(problem) from error
            raise SettingsError([f"backplane {self._address}: {problem}"]) from error

    async def turn(self, link: Link, life: Life) -> None:
        """Begins another life in place of `life`, unless another node has. Raises ApiError and LinkError."""
        name, sequence = await self._read_witness(link)
        if self._stream(name) == life.stream:
            await self._begin(link, sequence)

    async def _find(self, link: Link) -> Life:
        self._check_cluster(link)
        await api(link, f"STREAM.CREATE.{self._witness}", self._witness_config())
        name, sequence = await self._read_witness(link)
        if name:
            info = await self._info(link, name)
            if info is not None:
                return self._life(name, info)
            self._wait_for(name)
        return await self._begin(link, sequence)

    def _check_cluster(self, link: Link) -> None:
        if link.info.get("cluster") and not self._options.replicas and not self._options.durable:
            problem = "in a cluster, the restart of a single server goes unnoticed: set FANWISE_BACKPLANE_REPLICAS to 1"
            raise SettingsError([f"backplane {self._address}: {problem}, or FANWISE_BACKPLANE_DURABLE"])

    async def _read_witness(self, link: Link) -> tuple[str, int]:
        """Returns the name of the present life and the sequence of its message; ("", 0) for none."""
        try:
            answer = await api(link, f"STREAM.MSG.GET.{self._witness}", {"last_by_subj": self._subject})
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            return "", 0
        layout, name = base64.b64decode(answer["message"]["data"]).decode().split(" ")
        if int(layout) != LAYOUT:
            problem = f"the prefix {self._options.prefix} is used in layout {layout}, not {LAYOUT}: choose another one"
            raise SettingsError([f"backplane {self._address}: {problem}"])
        return name, int(answer["message"]["seq"])

    async def _info(self, link: Link, name: str) -> dict[str, Any] | None:
        try:
            return await api(link, f"STREAM.INFO.{self._stream(name)}")
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            return None

    def _life(self, name: str, info: dict[str, Any]) -> Life:
        self._met = name
        now_ns = time.time_ns()
        ahead_ms = (now_ns - (nanoseconds(info["ts"]) if "ts" in info else now_ns)) // 1_000_000
        return Life(self._stream(name), self._base(name), int(info["state"]["last_seq"]), ahead_ms)

    def _wait_for(self, name: str) -> None:
        """Raises LinkError while the stream of a life may still be made; each is made once, so one that was is gone."""
        if name == self._met:
            return
        now = time.monotonic()
        if self._missing[0] != name:
            self._missing = (name, now)
        if now - self._missing[1] < self._patience_seconds:
            raise LinkError("another server is about to make the stream")

    async def _begin(self, link: Link, sequence: int) -> Life:
        """Names a life, if the witness is still the message `sequence`, and makes it."""
        name = secrets.token_hex(_LIFE_BYTES)
        reply = await link.ask(self._subject, f"{LAYOUT} {name}".encode(), EXPECTED % sequence)
        try:
            read_answer(reply)
        except ApiError as error:
            raise LinkError(f"another server has begun anew: {error}") from error
        earlier = await api(link, "STREAM.NAMES", {"subject": f"{self._prefix}.c.>"})
        for stream in earlier.get("streams") or ():
            await self._delete(link, stream)
        config = self._config(name)
        return self._life(name, await api(link, f"STREAM.CREATE.{config['name']}", config))

    async def _delete(self, link: Link, stream: str) -> None:
        try:
            await api(link, f"STREAM.DELETE.{stream}")
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise

    def _stream(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _base(self, name: str) -> str:
        return f"{self._prefix}.c.{name}"

    def _witness_config(self) -> dict[str, Any]:
        return {
            "name": self._witness,
            "subjects": [self._subject],
            "storage": "file" if self._options.durable else "memory",
            "num_replicas": servers_of(self._options),
            "retention": "limits",
            "discard": "old",
            "max_msgs_per_subject": 1,
            "max_bytes": _WITNESS_BYTES,
        }

    def _config(self, name: str) -> dict[str, Any]:
        options = self._options
        return {
            "name": self._stream(name),
            "subjects": [f"{self._base(name)}.*"],
            "storage": "file",
            "num_replicas": servers_of(self._options),
            "retention": "limits",
            "discard": "old",
            "deny_delete": True,  # without its newest message a channel would give an offset twice
            "max_msgs_per_subject": max(options.history_messages, options.most_messages, LEAST_HISTORY),
            "max_bytes": STREAM_FACTOR * options.live_bytes,
            "max_age": CHANNEL_SECONDS * _NANOSECONDS,
            "duplicate_window": _REPEAT_SECONDS * _NANOSECONDS,
        }


def servers_of(options: Options) -> int:
    """Returns how many servers a stream has: a majority of them, one and `replicas` others, acknowledges."""
    return 2 * options.replicas + 1
