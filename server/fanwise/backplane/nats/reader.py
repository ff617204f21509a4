"""Reading the stream: where a channel stands, and what came before."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from ..port import Arrival
from .dial import ApiError, api, read_answer
from .life import EXPECTED
from .link import Delivery, Link
from .messages import Message, channel_of, nanoseconds, new_head, read, token_of, write
from .tail import NANOSECONDS_PER_MS, UNACKNOWLEDGED, pending_of, place_of, starts_after

_NOT_FOUND: Final = 404
_STEPS_BACK: Final = 8  # messages that are read one by one, before a consumer is made
_NEAR: Final = 64  # publications before the first one that is wanted, which are read as well
_COLLECT_SECONDS: Final = 2.0
_UNAVAILABLE: Final = 503


class Reader:
    """The stream of a life, over one link.

    Args:
        link: The link.
        stream: The stream's name.
        base: What the subjects of its channels begin with.
        sender: The node's name.
    """

    def __init__(self, link: Link, stream: str, base: str, sender: str) -> None:
        self._link = link
        self._stream = stream
        self._base = base
        self._sender = sender

    async def last(self, channel: str) -> Message | None:
        """Returns the channel's newest message. Raises ApiError and LinkError."""
        return await self._get({"last_by_subj": self._subject(channel)})

    async def get(self, sequence: int) -> Message | None:
        """Returns a message; None if the stream does not have it. Raises ApiError and LinkError."""
        return await self._get({"seq": sequence})

    async def at(self, sequence: int) -> tuple[int, int] | None:
        """Returns sequence and time in ns of a message; None if the stream does not have it."""
        try:
            answer = await api(self._link, f"STREAM.MSG.GET.{self._stream}", {"seq": sequence})
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            return None
        return sequence, nanoseconds(answer["message"]["time"])

    async def begin(self, channel: str) -> Message | None:
        """Begins an epoch of a channel of which the stream has nothing; None: another node has.

        Raises ApiError and LinkError.
        """
        head, mark = new_head(), f"{self._sender}:0"
        try:
            answer = read_answer(await self._link.ask(self._subject(channel), write(head, mark, []), EXPECTED % 0))
        except ApiError as error:
            if error.status == _UNAVAILABLE:
                raise
            return None
        return Message(channel, head._replace(sequence=int(answer["seq"])), 0, mark, [], 0)

    async def keep(self, channel: str, *, seconds: float) -> None:
        """Says anew where a channel stands, if nothing has for so long, so that the stream does not forget it.

        Raises ApiError and LinkError.
        """
        last = await self.last(channel)
        if last is not None and last.at_ms < (time.time() - seconds) * 1000:
            data = write(last.head, f"{self._sender}:0", [])
            try:
                read_answer(await self._link.ask(self._subject(channel), data, EXPECTED % last.head.sequence))
            except ApiError as error:
                if error.status == _UNAVAILABLE:
                    raise

    async def before(self, last: Message, wanted: int, *, least_size: int, count: int) -> list[Arrival]:
        """Returns the publications of an epoch up to a message: at most `count`, from offset `wanted` on.

        Args:
            last: The message.
            wanted: The first offset that is wanted.
            least_size: Payload bytes that the epoch had, at least, before the first publication that is wanted.
            count: How many publications at most.
        """
        wanted = max(wanted, last.head.offset - count + 1)
        messages = deque([last])
        for _ in range(_STEPS_BACK):
            oldest = messages[0]
            if oldest.first <= wanted or oldest.size_before <= least_size or not oldest.previous:
                break
            before = await self._get({"seq": oldest.previous})
            if before is None or before.head.epoch != last.head.epoch:
                return _from(messages, wanted, least_size)
            messages.appendleft(before)
        else:
            start = await self._search(last, wanted, least_size)
            messages = deque(await self._range(last, start))
        return _from(messages, wanted, least_size)

    async def _search(self, last: Message, wanted: int, least_size: int) -> int:
        """Returns a sequence from which on the stream has all that is wanted of a channel, and little more."""
        low, high = 1, last.head.sequence
        while low < high:
            middle = (low + high) // 2
            found = await self._get({"seq": middle, "next_by_subj": self._subject(last.channel)})
            if found is None:  # the stream has nothing any more
                return high
            same = found.head.epoch == last.head.epoch
            if same and found.head.offset >= wanted and found.head.size > least_size:
                high = middle
            elif same and wanted - found.head.offset <= _NEAR and found.head.size <= least_size:
                return found.head.sequence
            else:
                low = found.head.sequence + 1
        return low

    async def _range(self, last: Message, start: int) -> list[Message]:
        """Returns the channel's messages from a sequence on, up to `last`. Raises ApiError and LinkError."""
        config = {**starts_after(start - 1), "filter_subject": self._subject(last.channel)}
        messages = []
        for delivery in await collect(self._link, self._stream, config, last.head.sequence):
            sequence, time_ns = place_of(delivery.reply)
            message = read(last.channel, sequence, time_ns // NANOSECONDS_PER_MS, delivery.data)
            if sequence <= last.head.sequence and message.head.epoch == last.head.epoch:
                messages.append(message)
        return messages

    async def _get(self, what: dict[str, Any]) -> Message | None:
        try:
            answer = await api(self._link, f"STREAM.MSG.GET.{self._stream}", what)
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            return None
        found = answer["message"]
        data, at_ms = base64.b64decode(found.get("data", "")), nanoseconds(found["time"]) // NANOSECONDS_PER_MS
        return read(channel_of(found["subject"].encode()), int(found["seq"]), at_ms, data)

    def _subject(self, channel: str) -> str:
        return f"{self._base}.{token_of(channel)}"


async def collect(link: Link, stream: str, config: dict[str, Any], last: int = 0) -> list[Delivery]:
    """Returns the messages of a stream that a consumer is given, up to the sequence `last`, or all that there are.

    Raises:
        ApiError: JetStream refuses.
        OSError: The link was lost, or not all messages came in time (LinkError, TimeoutError).
    """
    found: list[Delivery] = []
    complete = asyncio.Event()

    def heard(delivery: Delivery) -> None:
        if complete.is_set() or delivery.status:
            return
        found.append(delivery)
        if pending_of(delivery.reply) == 0 or 0 < last <= place_of(delivery.reply)[0]:
            complete.set()

    inbox = f"{link.inbox}.c.{secrets.token_hex(4)}"
    sid = link.subscribe(inbox, heard)
    try:
        async with asyncio.timeout(_COLLECT_SECONDS):
            body = {"stream_name": stream, "config": {**UNACKNOWLEDGED, **config, "deliver_subject": inbox}}
            made = await api(link, f"CONSUMER.CREATE.{stream}", body)
            if made["num_pending"] or made["delivered"]["consumer_seq"]:
                await complete.wait()
    finally:
        link.unsubscribe(sid)
    link.request(lambda _: None, f"$JS.API.CONSUMER.DELETE.{stream}.{made['name']}", b"")  # it would end by itself
    return found


def _from(messages: Iterable[Message], wanted: int, least_size: int) -> list[Arrival]:
    """Returns the publications from an offset on, as far as the epoch had a size before them."""
    found: list[Arrival] = []
    for message in messages:
        size = message.size_before
        for one in message.arrivals:
            if one.offset >= wanted and size >= least_size:
                found.append(one)
            size += len(one.payload)
    return found
