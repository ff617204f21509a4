"""Accepts connections in place of the event loop's own server: a few per turn, and never beyond the descriptors.

The event loops accept as many as wait, up to the backlog, in one turn. Without a descriptor asyncio logs each attempt,
and both loops leave probes without an answer. Here a refusal costs an answer and a close: no transport, no task.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import ssl
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias

from ..core.codes import CodedError, ErrorCode
from ..logs.events import Event, log
from .places import Place, Places
from .refusals import RefusedError
from .sockets import Descriptor

ACCEPTS_PER_TURN: Final = 4  # a plain handshake takes about a tenth of a millisecond
RESERVE: Final = 32  # descriptors for requests when clients have the others
OWN: Final = 32  # descriptors for what the process opens itself: files, names, backends, and evicted connections
RETRY_SECONDS: Final = 1.0  # after a failed accept: it does not spin while there are no descriptors
TLS_SECONDS: Final = 10.0  # for a TLS handshake
_Opening: TypeAlias = "Coroutine[Any, Any, Any]"  # of a plain transport; it waits for one future
_UNREAD_BYTES: Final = 65_536  # of a request that was refused unseen
# Makes the protocol of a connection: from its place, its peer, and its socket, which is None with TLS.
ProtocolMaker: TypeAlias = "Callable[[Place, tuple[str, int], Descriptor | None], asyncio.Protocol]"


class AcceptedSocket(socket.socket):
    """A socket that frees its place with its descriptor: asyncio closes it, uvloop detaches it.

    Attributes:
        place: The connection's place.
        opened: Whether the event loop was given the socket, to make a transport of it.
    """

    __slots__ = ("opened", "place")

    # As numbers: event loops ask for them at each connection, and a `socket.socket` makes an enum for each answer.
    family = socket.SocketType.family  # type: ignore[assignment]
    type = socket.SocketType.type  # type: ignore[assignment]

    def __init__(self, family: int, kind: int, number: int) -> None:
        self.place: Place | None = None
        self.opened = False
        super().__init__(family, kind, 0, number)

    def ended(self, _task: asyncio.Task[None]) -> None:
        """Closes the descriptor if the task that was to open the transport was cancelled before it began."""
        if not self.opened:
            self.close()

    def close(self) -> None:
        """Closes the descriptor."""
        super().close()
        self._left()

    drop = close

    def detach(self) -> int:
        """Gives the descriptor away, to be closed."""
        number = super().detach()
        self._left()
        return number

    def _left(self) -> None:
        place, self.place = self.place, None
        if place is not None:
            place.leave()


class LentDescriptor:
    """A descriptor as uvloop is given it: in place of a socket, which asks the kernel for its address when it is made.

    uvloop closes the descriptor itself, and then this.

    Attributes:
        family: The address family.
        number: The descriptor.
        place: The connection's place.
    """

    __slots__ = ("family", "number", "place")

    type: Final = int(socket.SOCK_STREAM)

    def __init__(self, family: int, number: int, place: Place) -> None:
        self.family = family
        self.number = number
        self.place: Place | None = place

    def fileno(self) -> int:
        """Returns the descriptor."""
        return self.number

    def close(self) -> None:
        """Frees the place: uvloop has closed the descriptor."""
        place, self.place = self.place, None
        if place is not None:
            place.leave()

    def drop(self) -> None:
        """Closes the descriptor, which uvloop has not taken. Idempotent."""
        if self.place is not None:
            os.close(self.number)
            self.close()


class Descriptors:
    """The number from which on descriptors are short, and how many connections there are beyond.

    The kernel gives the lowest free number (accept(2)): with number n, 0 to n - 1 are open, by connections or by
    others.

    Args:
        limit: How many descriptors the process may have, as getrlimit(2) gives it.

    Attributes:
        short: Connections from this number on are the reserve's.
        reserve: How many the reserve has.
    """

    def __init__(self, limit: int) -> None:
        most = 1 << 30 if limit == resource.RLIM_INFINITY else limit
        self.reserve = min(RESERVE, most // 8)
        self.short = most - self.reserve - min(OWN, most // 8)

    @classmethod
    def of_process(cls) -> Descriptors:
        """Returns the numbers for the soft limit in force (RLIMIT_NOFILE, getrlimit(2))."""
        return cls(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


class Acceptor:
    """Accepts the connections of one listening socket, and starts a protocol for each that finds a place.

    uvicorn closes it as it closes an `asyncio.Server`.

    Args:
        listener: A bound socket. Its connections inherit its options.
        make_protocol: Makes a protocol for a connection.
        places: The places.
        descriptors: When descriptors are short.
        tls: The context for TLS handshakes; None: connections are plain.
        backlog: How many connections may wait in the kernel.
    """

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: ProtocolMaker,
        *,
        places: Places,
        descriptors: Descriptors,
        tls: ssl.SSLContext | None = None,
        backlog: int = 2_048,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._take: Callable[[], tuple[int, Any]] = listener._accept  # type: ignore[attr-defined]  # noqa: SLF001
        self._family, self._kind = int(listener.family), int(listener.type)
        self._make_protocol = make_protocol
        self._places = places
        self._descriptors = descriptors
        self._tls = tls
        self._lends = tls is None and "uvloop" in type(self._loop).__module__
        self._retry: asyncio.TimerHandle | None = None
        self._opening: set[asyncio.Task[None]] = set()  # TLS handshakes
        listener.setblocking(False)
        listener.listen(backlog)
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """Accepts nothing any more, and ends TLS handshakes."""
        self._loop.remove_reader(self._listener)
        if self._retry is not None:
            self._retry.cancel()
        for task in self._opening:
            task.cancel()

    async def wait_closed(self) -> None:
        """Returns when no handshake is left."""
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _accept(self) -> None:
        """Accepts some of the connections that wait; the event loop calls again while others do."""
        opening: list[tuple[_Opening, asyncio.Future[Any]]] = []
        try:
            self._accept_some(opening)
        finally:
            if opening:
                self._loop.call_soon(_go_on, opening)

    def _accept_some(self, opening: list[tuple[_Opening, asyncio.Future[Any]]]) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                number, address = self._take()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:  # no descriptors, no memory (accept(2))
                self._pause(error)
                return
            peer = address[:2] if isinstance(address, tuple) else ("", 0)
            short = number >= self._descriptors.short
            place = self._place_for(number, peer[0], short=short)
            if place is not None:
                self._start(number, peer, place, opening)
            if short:  # a connection that was ended for this one closes its descriptor in the next turn
                return

    def _place_for(self, number: int, host: str, *, short: bool) -> Place | None:
        """Returns a place for a connection of `host`; None: there is none, and the connection was refused."""
        try:
            if short:
                self._make_room(host)
            return self._places.enter(host, short=short)
        except CodedError as refusal:
            self._refuse(socket.socket(self._family, self._kind, 0, number), refusal)
            return None
        except BaseException:
            os.close(number)
            raise

    def _make_room(self, host: str) -> None:
        """Ends a connection for a new one.

        Raises:
            CodedError: None can be ended, and the descriptors are in use.
        """
        needed = len(self._places.reserve) >= self._descriptors.reserve
        if not self._places.make_room(needed=needed) and needed:
            raise self._places.refused(ErrorCode.FULL, "the descriptors of the server are in use", host=host)

    def _start(
        self, number: int, peer: tuple[str, int], place: Place, opening: list[tuple[_Opening, asyncio.Future[Any]]]
    ) -> None:
        """Opens the transport of a connection: with TLS in a task, else `opening` gets it."""
        if self._lends:
            self._open_plain(LentDescriptor(self._family, number, place), peer, place, opening)
            return
        sock = AcceptedSocket(self._family, self._kind, number)
        sock.place = place
        if self._tls is None:
            sock.opened = True
            self._open_plain(sock, peer, place, opening)
            return
        task = self._loop.create_task(self._open(sock, self._tls, place, peer))
        place.end = task.cancel  # type: ignore[assignment]  # the result is not used
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        task.add_done_callback(sock.ended)

    def _open_plain(
        self,
        sock: AcceptedSocket | LentDescriptor,
        peer: tuple[str, int],
        place: Place,
        opening: list[tuple[_Opening, asyncio.Future[Any]]],
    ) -> None:
        """Begins to open a plain transport; `_go_on` goes on."""
        make = partial(self._make_protocol, place, peer, sock)
        one = self._loop.connect_accepted_socket(make, sock)  # type: ignore[arg-type]  # uvloop takes other objects
        try:
            opening.append((one, one.send(None)))
        except OSError:  # the kernel has let the connection go
            sock.drop()
        except BaseException:
            sock.drop()
            raise

    async def _open(self, sock: AcceptedSocket, tls: ssl.SSLContext, place: Place, peer: tuple[str, int]) -> None:
        """Makes a transport of the socket after the TLS handshake."""
        make = partial(self._make_protocol, place, peer, None)
        sock.opened = True
        try:
            await self._loop.connect_accepted_socket(make, sock, ssl=tls, ssl_handshake_timeout=TLS_SECONDS)
        except OSError:  # the handshake has failed or is late; the transport closes the socket
            return

    def _refuse(self, sock: socket.socket, refusal: CodedError) -> None:
        """Answers and closes at once; what has come of a request is read, or the kernel would send a reset."""
        try:
            sock.setblocking(False)  # event loops do it for the others
            if self._tls is None:
                sock.send(RefusedError.of(refusal).answer)
                sock.shutdown(socket.SHUT_WR)
                sock.recv(_UNREAD_BYTES)
        except OSError:  # the peer has left, or has sent nothing yet
            pass
        finally:
            sock.close()

    def _pause(self, error: OSError) -> None:
        """Accepts nothing for a moment."""
        log(Event.ACCEPT_PAUSED, seconds=RETRY_SECONDS, reason=error.strerror)
        self._places.make_room(needed=True)
        self._loop.remove_reader(self._listener)
        self._retry = self._loop.call_later(RETRY_SECONDS, self._loop.add_reader, self._listener, self._accept)


def _go_on(opening: list[tuple[_Opening, asyncio.Future[Any]]]) -> None:
    """Opens plain transports up to their end, without a task for each: opening one waits once, for the next turn.

    What the event loop has to do for that turn, it was asked for before this call.
    """
    for one, waited in opening:
        if waited.done():
            _end(one)
        else:
            waited.add_done_callback(partial(_end, one))


def _end(one: _Opening, _waited: asyncio.Future[Any] | None = None) -> None:
    try:
        one.send(None)
    except (StopIteration, OSError):  # the transport is open, or its connection has left
        return
