"""Direct messages: payloads to one client, or to all clients of one user, beside what is published."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

import orjson

from ..core.publication import Kind, Publication
from ..core.reasons import CloseReason
from ..core.rights import User
from ..errors import GoneError
from .client import Client
from .publisher import Payload, Publisher, serialise
from .registry import ClientRegistry
from .survey import QuestionError
from .turns import in_turns

_STEP: Final = 16  # clients between two looks at the clock: each takes a system call


class DirectSender:
    """Sends payloads to clients of this process. Owns the invariant that what waits for a client is within its bounds.

    Args:
        publisher: Knows the largest payload, and whether the node runs.
        registry: The clients, and those of each user.
        queue_messages: Messages that may wait for a client.
        queue_bytes: Their bytes.
    """

    def __init__(
        self,
        publisher: Publisher,
        registry: ClientRegistry,
        *,
        queue_messages: int,
        queue_bytes: int,
    ) -> None:
        self._publisher = publisher
        self._registry = registry
        self._queue_bytes = queue_bytes
        self._share_bytes = max(1, queue_bytes // queue_messages)

    def message(self, payload: Payload) -> Publication:
        """Returns a payload as a publication without a place.

        Raises MessageTooBigError, NotRunningError or PayloadError.
        """
        kind, data = serialise(payload)
        self._publisher.check_size(data)
        return Publication("", "", 0, data, kind, 0.0)

    def send(self, client: Client, payload: Payload) -> None:
        """Sends a payload to one client. Raises what `Client.send` does."""
        if client.reason is not None or not self._hand(client, self.message(payload)):
            raise GoneError

    async def send_to(self, user: User | str, payload: Payload) -> int:
        """Sends a payload to the clients of a user. Takes, returns and raises what `Node.send_to` does."""
        return await self.send_message_to(user if isinstance(user, str) else user.id, self.message(payload))

    async def send_message_to(self, user: str, message: Publication) -> int:
        """Sends a message to the clients that a user has now; returns to how many. O(them), in turns of the loop."""

        def hand(client: Client) -> bool | None:
            here = client.reason is None and client.user is not None and client.user.id == user
            return (here and self._hand(client, message)) or None

        return len(await in_turns(hand, self._registry.clients_of(user), step=_STEP))

    async def answer(self, parameters: Mapping[str, Any], _most_bytes: int) -> bytes:
        """Sends the messages of a question to clients of this worker, and answers to how many. Raises QuestionError."""
        try:
            messages = [_read(one) for one in parameters["messages"]]
        except (LookupError, TypeError, ValueError) as error:
            raise QuestionError(repr(error)) from error
        return orjson.dumps([await self.send_message_to(user, message) for user, message in messages])

    def _hand(self, client: Client, message: Publication) -> bool:
        """Sends a message to an open client, or closes the client, whose connection has left too much untaken."""
        outbox = client.outbox
        if outbox.waiting_bytes and outbox.waiting_bytes + len(message.payload) > self._queue_bytes:
            client.close(CloseReason.SLOW)
            return False
        client.deliver(message, self._share_bytes)
        return True


def _read(fields: Mapping[str, str]) -> tuple[str, Publication]:
    """Returns a message that another worker has sent. Raises LookupError, TypeError or ValueError if it is none."""
    data = base64.b64decode(fields["data"], validate=True)
    return str(fields["user"]), Publication("", "", 0, data, Kind(fields["kind"]), 0.0)
