"""Publishing: a message says where its channel stands, and the stream takes it only if that is so.

Two nodes that publish to one channel at once race: the stream takes one message and refuses the other, whose node hears
the first one and tries again behind it. So an offset is given once, whatever nodes know or believe.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from ...core.filters import tags_bytes
from ...core.publication import Position
from ...errors import BackplaneDownError, IdempotencyError, UnconfirmedError
from ..port import Outgoing
from ..waiting import FRAME_BYTES, PUBLICATION_BYTES, Waiting, WaitingRoom
from .dial import ApiError, read_answer
from .life import EXPECTED
from .link import Delivery, Link
from .messages import LINE_BYTES, Head, Message, new_head, token_of, write
from .tail import Tail
from .turns import Turns

_MARK: Final = b"Nats-Msg-Id: %b\r\n"
_WRONG_LAST: Final = (10071, 10164)  # codes of JetStream: something else was published to the channel
_REFUSED: Final = (400, 500)  # statuses of errors that say: not taken, and would not be taken now


class Sent:
    """A message on its way.

    Attributes:
        head: Where its channel stands if it is taken; the sequence is that of the message before it.
        waiting: Its publications; one alone if it has a request.
        at: When it was sent, on the loop's clock.
        again: Whether it was sent more than once: an earlier one may have been taken.
        holes: Of the tail, when it was sent first.
        lost_to: Sequence of the message that came before it; None while it has not lost.
    """

    def __init__(self, head: Head, mark: str, waiting: list[Waiting], data: bytes, holes: int) -> None:
        self.head = head
        self.mark = mark
        self.waiting = waiting
        self.data = data
        self.holes = holes
        self.at = 0.0
        self.again = False
        self.lost_to: int | None = None


class Lane:
    """The publications of a frame to one channel, of which one message is on its way at most."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.waiting: deque[Waiting] = deque()
        self.sent: Sent | None = None
        self.asks = False  # whether it waits to hear where the channel stands
        self.lost = False  # whether another node was faster at the latest attempt


class Sending:
    """Owns the invariant that each publication is in one place of one channel, once.

    Args:
        room: Publications that wait.
        tail: What was heard of the stream.
        sender: The node's name.
        look_up: Asks where a channel stands; `looked_up` is to be called with the answer.
        recall: Asks for the message at a place in the stream.
        turns: Where nodes claim turns.
        fail: Gives the link up, for a reason.
    """

    def __init__(
        self,
        room: WaitingRoom,
        tail: Tail,
        *,
        sender: str,
        turns: str,
        look_up: Callable[[str], None],
        recall: Callable[[int, Callable[[Message | None], None]], None],
        fail: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._room = room
        self._tail = tail
        self._sender = sender
        self._look_up = look_up
        self._recall = recall
        self._fail = fail
        self.turns = turns
        self._lanes: dict[str, Lane] = {}
        self._sent: dict[str, Lane] = {}  # {mark: lane}
        self._losers: dict[str, Lane] = {}  # lanes that wait for the tail
        self._turns = Turns(sender, publish=self._claim, come=self._come)
        self._numbers = 0
        self._link: Link | None = None
        self._base = ""
        self._max_bytes = 0

    # The link.

    def up(self, link: Link, base: str) -> None:
        """Goes on, on a new link: with what may have been taken, under the mark that it had."""
        turned = base != self._base
        self._link, self._base = link, base
        self._max_bytes = int(link.info.get("max_payload", FRAME_BYTES)) - LINE_BYTES
        self._losers.clear()
        self._room.drop_given_up()
        if self._room.frame is None:
            self._lanes.clear()
            self._sent.clear()
        for lane in list(self._lanes.values()):
            lane.asks = False
            if lane.sent is None:
                self._advance(lane)
            elif turned or all(one.future.done() for one in lane.sent.waiting):  # nobody hears of it any more
                self._take_back(lane, lane.sent)
            else:
                lane.sent.again = True
                self._send(lane, lane.sent)
        self.pump()

    def down(self) -> None:
        """Hears that the link has gone."""
        self._link = None
        self._turns.clear()

    def waits_since(self) -> float:
        """Returns when the oldest message was sent that is not answered; infinite if there is none. O(a frame)."""
        lanes = (lane.sent for lane in self._sent.values())
        return min((sent.at for sent in lanes if sent is not None and sent.lost_to is None), default=inf)

    # The frame.

    def pump(self) -> None:
        """Sends the next frame, if none is in flight: so messages grow where the engine is busy."""
        if self._link is None or self._room.frame is not None:
            return
        frame = self._room.next_frame()
        if frame is None:
            return
        for waiting in frame.waiting:
            channel = waiting.outgoing.channel
            lane = self._lanes.get(channel)
            if lane is None:
                lane = self._lanes[channel] = Lane(channel)
            lane.waiting.append(waiting)
        for lane in list(self._lanes.values()):
            self._advance(lane)

    def _advance(self, lane: Lane) -> None:
        """Sends the lane's next message, or asks where its channel stands."""
        if self._link is None or lane.sent is not None or lane.asks:
            return
        while lane.waiting and lane.waiting[0].future.done():
            lane.waiting.popleft()
        if not lane.waiting:
            self._finished(lane)
            return
        if not self._turns.is_ours(lane.channel, lost=lane.lost):
            return
        head = self._tail.heads.get(lane.channel)
        if head is None:
            lane.asks = True
            self._look_up(lane.channel)
        else:
            self._send_next(lane, head)

    def _finished(self, lane: Lane) -> None:
        self._turns.over(lane.channel, self._sender)
        self._lanes.pop(lane.channel, None)
        if not self._lanes and self._room.frame is not None:
            self._room.end_frame()
            self.pump()

    def _send_next(self, lane: Lane, head: Head) -> None:
        waiting = self._take(lane)
        if not waiting:
            self._advance(lane)
            return
        self._numbers += 1
        publications = [one.outgoing for one in waiting]
        once = publications[0].once
        mark = f"{self._sender}:{self._numbers}" + (f":{once.digest}" if once is not None else "")
        size = head.size + sum(len(one.payload) for one in publications)
        after = Head(head.epoch, head.offset + len(waiting), head.sequence, size)
        sent = Sent(after, mark, waiting, write(head, mark, publications), self._tail.holes)
        self._send(lane, sent)

    def _take(self, lane: Lane) -> list[Waiting]:
        """Takes what fits into a message; one at least, unless it is larger than the server allows."""
        taken: list[Waiting] = []
        left = min(FRAME_BYTES, self._max_bytes)
        while lane.waiting:
            one = lane.waiting[0]
            if one.future.done():
                lane.waiting.popleft()
                continue
            size = _size(one.outgoing)
            if size > self._max_bytes:
                lane.waiting.popleft()
                self._room.answer(one, BackplaneDownError(_too_large(one.outgoing, self._max_bytes)))
                continue
            if taken and (size > left or one.outgoing.once is not None):
                break
            taken.append(lane.waiting.popleft())
            left -= size
            if one.outgoing.once is not None:  # the stream knows it again as a message
                break
        return taken

    def _send(self, lane: Lane, sent: Sent) -> None:
        link = self._link
        if link is None:
            return
        lane.sent = sent
        sent.at = self._loop.time()
        self._sent[sent.mark] = lane
        once = sent.waiting[0].outgoing.once
        headers = EXPECTED % sent.head.sequence
        if once is not None:
            headers += _MARK % once.key.encode()
        elif not sent.head.sequence:  # which does not tell a second one, if the stream is purged between them
            headers += _MARK % sent.mark.encode()
        subject = f"{self._base}.{token_of(lane.channel)}"
        link.request(lambda reply: self._answered(link, lane, sent, reply), subject, sent.data, headers)

    def _answered(self, link: Link, lane: Lane, sent: Sent, reply: Delivery | Exception) -> None:
        if lane.sent is not sent or link is not self._link or isinstance(reply, Exception):
            return  # it stays, and is sent again on the next link
        try:
            answer = read_answer(reply)
        except ApiError as error:
            self._refused(lane, sent, error)
            return
        if answer.get("duplicate") and sent.waiting[0].outgoing.once is not None:
            self._recall(int(answer["seq"]), lambda message: self._recalled(lane, sent, message))
        else:
            self._taken(lane, sent, int(answer["seq"]))

    # What became of a message.

    def heard(self, message: Message) -> None:
        """Hears a message of the stream: one of ours was taken, whatever became of the answer; losers try again."""
        sender = message.mark.partition(":")[0]
        if sender != self._sender:
            self._turns.over(message.channel, sender)
        lane = self._sent.get(message.mark)
        if lane is not None and lane.sent is not None and lane.sent.mark == message.mark:
            self._taken(lane, lane.sent, message.head.sequence)
        if self._losers:
            for loser in list(self._losers.values()):
                self._try_again(loser)

    def _taken(self, lane: Lane, sent: Sent, sequence: int) -> None:
        head = sent.head
        lane.lost = False
        self._turns.over(lane.channel, self._sender)
        self._tail.remember(lane.channel, head._replace(sequence=sequence))
        first = head.offset - len(sent.waiting) + 1
        self._room.time(sent.waiting)
        for offset, one in enumerate(sent.waiting, first):
            self._room.answer(one, Position(head.epoch, offset))
        self._over(lane, sent)
        self._advance(lane)

    def _refused(self, lane: Lane, sent: Sent, error: ApiError) -> None:
        if error.code in _WRONG_LAST:
            found = str(error).rsplit(":", 1)[-1].strip()
            sent.lost_to = int(found) if found.isdigit() else self._tail.number
            self._losers[lane.channel] = lane
            self._try_again(lane)
        elif error.status in _REFUSED and error.code and not sent.again:
            self._settle(lane, sent, BackplaneDownError(str(error)))
        else:
            self._fail(str(error))

    def _try_again(self, lane: Lane) -> None:
        """Tries again behind the message that came before, once that was heard: ours would have been heard by then."""
        sent = lane.sent
        if sent is None or sent.lost_to is None or self._tail.number < sent.lost_to:
            return
        if sent.again and sent.holes != self._tail.holes:
            self._settle(lane, sent, UnconfirmedError("messages of the stream are lost"))
            return
        lane.lost = True
        head = self._tail.heads.get(lane.channel)
        if head is not None and (not sent.lost_to or head.sequence <= sent.head.sequence):  # it was not heard of since
            del self._tail.heads[lane.channel]
        self._take_back(lane, sent)

    def _recalled(self, lane: Lane, sent: Sent, message: Message | None) -> None:
        """Hears the message in which the stream has a request already; None: it has it no more."""
        once = sent.waiting[0].outgoing.once
        if lane.sent is not sent or once is None:
            return
        if message is None:
            self._settle(lane, sent, UnconfirmedError("it was sent before, and is not in the stream any more"))
        elif message.mark.rpartition(":")[2] != once.digest:
            self._settle(lane, sent, IdempotencyError())
        else:
            self._settle(lane, sent, Position(message.head.epoch, message.head.offset))

    def _take_back(self, lane: Lane, sent: Sent) -> None:
        self._over(lane, sent)
        lane.waiting.extendleft(reversed(sent.waiting))
        self._advance(lane)

    def _settle(self, lane: Lane, sent: Sent, outcome: Position | Exception) -> None:
        """Ends a message of which nothing new is in the stream."""
        for one in sent.waiting:
            self._room.answer(one, outcome)
        self._over(lane, sent)
        self._advance(lane)

    def _over(self, lane: Lane, sent: Sent) -> None:
        self._sent.pop(sent.mark, None)
        self._losers.pop(lane.channel, None)
        lane.sent = None

    # Turns.

    def claimed(self, delivery: Delivery) -> None:
        """Hears that a node wants to publish to a channel next."""
        self._turns.claimed(delivery.data)

    def _claim(self, claim: bytes) -> None:
        if self._link is not None:
            self._link.publish(self.turns, claim)

    def _come(self, channel: str) -> None:
        lane = self._lanes.get(channel)
        if lane is None:
            self._turns.over(channel, self._sender)
        else:
            self._advance(lane)

    def looked_up(self, channel: str, head: Head | None) -> None:
        """Hears where a channel stands; None: the stream has nothing of it, and a new epoch begins."""
        lane = self._lanes.get(channel)
        if lane is None or not lane.asks:
            return
        lane.asks = False
        if head is not None:
            self._tail.remember(channel, head)
            self._advance(lane)
        elif lane.sent is None and self._link is not None:
            self._send_next(lane, new_head())


def _size(outgoing: Outgoing) -> int:
    tags = 0 if outgoing.tags is None else tags_bytes(outgoing.tags)
    return len(outgoing.payload) + len(outgoing.key or "") * 4 + PUBLICATION_BYTES // 8 + tags


def _too_large(outgoing: Outgoing, limit: int) -> str:
    return f"a payload of {len(outgoing.payload)} bytes is above the engine's limit, {limit} (max_payload)"
