"""What the options of channels say about peers: which channels they may open, and how fast they may publish."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from ..broadcaster.node import Node
from ..core.namespaces import Namespace
from ..core.publication import check_channel_name
from ..core.rights import Action, Answer, Rights, User
from ..errors import ChannelFullError, NoChannelError
from .auth.credentials import TokenRights

_BURST_SECONDS: Final = 1.0  # of a rate may come at once; one publication at least
_PACES: Final = 64  # of one connection: above that, those that are not owed anything are forgotten


class ChannelRules:
    """Asks the options of channels. Peers are asked, and the application itself is not.

    Args:
        broadcaster: The node that has the channels.

    Attributes:
        open: Whether options have nothing to say about peers.
    """

    def __init__(self, broadcaster: Node) -> None:
        self._broadcaster = broadcaster
        self._namespaces = broadcaster.inspect.namespaces
        self.open = not self._namespaces.restrict

    def check(self, channel: str, *, operator: bool) -> None:
        """Checks that a peer may begin to listen to a channel, as far as this server knows.

        Args:
            channel: Its name, which is allowed.
            operator: Whether the peer has brought a key.

        Raises:
            ChannelFullError: The channel has as many clients as it may have.
            NoChannelError: The channel does not exist, and the peer may not open it.
        """
        if self.open:
            return
        space = self._namespaces.of(channel)
        if self._is_refused(space, channel, operator=operator):
            raise NoChannelError(channel)
        here = self._broadcaster.inspect.channel(channel)
        if here is not None and here.clients >= space.max_subscribers:
            raise ChannelFullError(channel, limit_clients=here.clients)

    async def check_everywhere(self, channel: str, *, operator: bool) -> None:
        """Checks like `check`, and looks for the channel on other servers too."""
        await self.check_to_publish(channel, operator=operator)
        self.check(channel, operator=operator)

    async def check_to_publish(self, channel: str, *, operator: bool) -> None:
        """Checks that a peer may publish to a channel over HTTP, where rates are those of addresses.

        Raises:
            NoChannelError: The channel does not exist, and the peer may not open it.
        """
        if not self.open:
            answer = self.refusal(self._namespaces.of(check_channel_name(channel)), channel, operator=operator)
            if not isinstance(answer, bool):
                await answer

    def add_to(self, rights: Rights | None, *, operator: bool, paced: bool = True) -> Rights | None:
        """Returns the rights of one connection, with the rules of the options behind them; None: there are none.

        Args:
            rights: Those of its user; None: the user may do everything.
            operator: Whether the peer has brought a key; where rights are those of a token, each token counts anew.
            paced: Whether the peer is a client, whose publications keep to the rates.
        """
        if self.open:
            return rights
        token = rights if isinstance(rights, TokenRights) else None
        peer = _Peer(self, self._namespaces.of, operator=operator, token=token, paced=paced)
        return (Rights(None) if rights is None else rights).and_also(peer.may)

    def _is_refused(self, space: Namespace, channel: str, *, operator: bool) -> bool:
        create = space.options.create
        if create == "anybody" or (operator and create == "operators"):
            return False
        here = self._broadcaster.inspect.channel(channel)
        return here is None or not (here.clients or here.head)

    def refusal(self, space: Namespace, channel: str, *, operator: bool) -> Answer:
        """Returns that a peer may use a channel, behind a backplane what to await; raises NoChannelError if not."""
        if not self._is_refused(space, channel, operator=operator):
            return True
        if self._broadcaster.shares:
            return self._ask_others(channel, operator=operator)
        raise NoChannelError(channel)

    async def _ask_others(self, channel: str, *, operator: bool) -> bool:
        if not await self._broadcaster.sharing.is_published(channel):
            raise NoChannelError(channel)
        await self._broadcaster.sharing.ready(channel, None)
        if self._is_refused(self._namespaces.of(channel), channel, operator=operator):
            raise NoChannelError(channel)
        return True


class _Peer:
    """One connection. Owns the invariant that its publications keep to the rates of their patterns, on average.

    Args:
        rules: The rules.
        namespace: Returns the options of a channel.
        operator: Whether the peer has brought a key.
        token: The rights of its token, which may be followed by another; None: there is none.
        paced: Whether there are rates for it.
    """

    __slots__ = ("_due", "_namespace", "_operator", "_paced", "_rules", "_token")

    def __init__(
        self,
        rules: ChannelRules,
        namespace: Callable[[str], Namespace],
        *,
        operator: bool,
        token: TokenRights | None,
        paced: bool,
    ) -> None:
        self._rules = rules
        self._namespace = namespace
        self._operator = operator
        self._token = token
        self._paced = paced
        self._due: dict[Namespace, float] = {}  # {options: when the next publication is due, at that rate}

    def may(self, _user: User | None, action: Action, channel: str) -> Answer:
        """Is a rule of `Rights`: asked before each subscription and publication."""
        space = self._namespace(channel)
        if action is Action.SUBSCRIBE:
            return self._rules.refusal(space, channel, operator=self._operates)
        if action is not Action.PUBLISH:
            return True
        answer = self._rules.refusal(space, channel, operator=self._operates)
        rate = space.options.publishes_per_second if self._paced else None
        seconds = 0.0 if rate is None else self._wait_seconds(space, rate)
        return answer if not seconds else _later(answer, seconds)

    @property
    def _operates(self) -> bool:
        return self._operator or (self._token is not None and self._token.operates)

    def _wait_seconds(self, space: Namespace, rate: float) -> float:
        """Counts a publication; returns for how long it has to wait."""
        now = time.monotonic()
        burst = max(_BURST_SECONDS - 1 / rate, 0.0)
        due = max(self._due.get(space, 0.0), now - burst)
        self._due[space] = due + 1 / rate
        if len(self._due) > _PACES:
            self._due = {one: at for one, at in self._due.items() if at > now}
        return max(due - now, 0.0)


async def _later(answer: Answer, seconds: float) -> bool:
    allowed = answer if isinstance(answer, bool) else await answer
    await asyncio.sleep(seconds)
    return allowed
