"""The keys that tokens are signed with: a secret, a public key, or a set (RFC 7517) in a file or behind a URL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from threading import Thread
from typing import Final, Self, TypeAlias
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWK

from ...errors import SettingsError
from ...logs.events import Event, log
from .key_sets import fetch_set, read_file, read_set

REFRESH_SECONDS: Final = 300.0  # of a key set behind a URL
FILE_SECONDS: Final = 30.0  # between two looks at a file
AGAIN_SECONDS: Final = 30.0  # between two fetches for the sake of unknown keys
FILE_AGAIN_SECONDS: Final = 2.0  # between two looks for the sake of unknown keys
FETCH_SECONDS: Final = 5.0
SECRET_BYTES: Final = 32  # of a secret at least (RFC 7518 section 3.2)
_MOST_KEYS: Final = 4  # that a token without a key ID is tried with
_PEM: Final = "-----BEGIN"
_ALGORITHMS: Final = {rsa.RSAPublicKey: "RS256", ec.EllipticCurvePublicKey: "ES256", ed25519.Ed25519PublicKey: "EdDSA"}

Key: TypeAlias = "PyJWK | str"


class SigningKeys:
    """Keys that do not change while the server runs. A context: keys that change do so while it lasts.

    Args:
        keys: A secret or a PEM public key as text, or the keys of a set.
        algorithms: Those that the keys are for, if nothing else is said.

    Attributes:
        changes: How often the keys were replaced.
    """

    def __init__(self, keys: Sequence[Key], algorithms: Sequence[str] = ("RS256", "ES256", "EdDSA")) -> None:
        self._keys = tuple(keys)
        self.algorithms = tuple(algorithms)
        self.changes = 0

    def find(self, key_id: object, algorithm: str) -> Sequence[Key]:
        """Returns the keys that a token may be signed with: with that ID, or any of the algorithm if it names none."""
        if key_id is None:
            return [key for key in self._keys if _fits(key, algorithm)][:_MOST_KEYS]
        return [key for key in self._keys if isinstance(key, str) or key.key_id == key_id][:_MOST_KEYS]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Does nothing: nothing was begun."""


class ChangingKeys(SigningKeys):
    """A key set that is read anew now and then, and when a token names a key that is not in it.

    A token of an unknown key is refused; its client finds the key when it tries again. A reading that fails leaves the
    keys as they are.

    Args:
        place: A URL, or the path of a file, for the log.
        read: Returns the keys; called in a thread. Raises OSError, ValueError or HTTPException.
        refresh_seconds: Between two readings.
        again_seconds: At least between two readings for the sake of unknown keys.
        keys: Those that were read already.
    """

    def __init__(
        self,
        place: str,
        read: Callable[[], Sequence[Key]],
        *,
        refresh_seconds: float = REFRESH_SECONDS,
        again_seconds: float = AGAIN_SECONDS,
        keys: Sequence[Key] = (),
    ) -> None:
        super().__init__(keys)
        self._place = place
        self._read = read
        self._refresh_seconds = refresh_seconds
        self._again_seconds = again_seconds
        self._unknown = asyncio.Event()
        self._starts = 0
        self._task: asyncio.Task[None] | None = None
        self._thread: Thread | None = None  # of the latest reading: an issuer that never ends an answer has one

    def find(self, key_id: object, algorithm: str) -> Sequence[Key]:
        """Returns the keys that a token may be signed with; asks for the set again if there is none."""
        found = super().find(key_id, algorithm)
        if not found:
            self._unknown.set()
        return found

    async def __aenter__(self) -> Self:
        """Reads the set, and keeps it new. May be entered more than once: the last exit ends that."""
        self._starts += 1
        if self._starts == 1:
            await self._renew()
            self._task = asyncio.create_task(self._stay_new(), name=f"fanwise keys {self._place}")
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Ends the reading at the last exit."""
        self._starts -= 1
        if self._starts == 0 and self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.wait({task})

    async def _stay_new(self) -> None:
        while True:
            read_at = time.monotonic()
            self._unknown.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._refresh_seconds):
                    await self._unknown.wait()
            await asyncio.sleep(max(0.0, read_at + self._again_seconds - time.monotonic()))
            await self._renew()

    async def _renew(self) -> None:
        try:
            if self._thread is not None and self._thread.is_alive():
                raise OSError("the reading before has not ended")  # noqa: TRY301 - one line of the log for all
            async with asyncio.timeout(FETCH_SECONDS):
                found = await self._read_in_thread()
        except (OSError, ValueError, HTTPException) as error:
            why = str(error) or f"no answer within {FETCH_SECONDS:g} s"  # a TimeoutError is an OSError
            log(Event.KEYS_NOT_FETCHED, url=self._place, why=why)
            return
        self._keys = tuple(found)
        self.changes += 1

    async def _read_in_thread(self) -> Sequence[Key]:
        """Returns or raises what reading does in a thread, which no end of the process waits for."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Sequence[Key]] = loop.create_future()

        def run() -> None:
            keys: Sequence[Key] = ()
            problem: Exception | None = None
            try:
                keys = self._read()
            except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
                problem = error
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(_settle, future, keys, problem)

        self._thread = Thread(target=run, name="fanwise keys", daemon=True)
        self._thread.start()
        return await future


def _settle(future: asyncio.Future[Sequence[Key]], keys: Sequence[Key], error: Exception | None) -> None:
    if future.done():  # the wait has ended
        return
    if error is None:
        future.set_result(keys)
    else:
        future.set_exception(error)


def fetched_keys(url: str, *, again_seconds: float = AGAIN_SECONDS) -> ChangingKeys:
    """Returns the key set behind a URL, which is fetched at the start."""
    return ChangingKeys(url, lambda: fetch_set(url, seconds=FETCH_SECONDS), again_seconds=again_seconds)


def open_key_set(place: str) -> SigningKeys:
    """Returns the key set behind a URL or in a file (RFC 7517). A file is read now, and again when it changes.

    Raises:
        SettingsError: There is none.
    """
    if "://" in place:
        parts = urlsplit(place)
        if parts.scheme != "https" and not (
            parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
        ):
            raise SettingsError([f"token keys {place}: give an https URL, or the path of a file"])
        if parts.username is not None or parts.password is not None:
            raise SettingsError([f"token keys {parts.hostname}: the URL of a key set takes no user and no password"])
        return fetched_keys(place)
    read = partial(read_set, place)
    try:
        keys = read()
    except (OSError, ValueError) as error:
        raise SettingsError([f"token keys {place}: {error}"]) from error
    return ChangingKeys(place, read, refresh_seconds=FILE_SECONDS, again_seconds=FILE_AGAIN_SECONDS, keys=keys)


def open_key_file(path: str) -> SigningKeys:
    """Returns the key in a file: a public key as PEM, or a secret. Raises SettingsError."""
    try:
        return open_key(read_file(path))
    except (OSError, ValueError) as error:
        raise SettingsError([f"token key {path}: {error}"]) from error


def open_key(text: str) -> SigningKeys:
    """Returns a key: a public key as PEM for its algorithm, or a secret for HS256.

    Raises:
        SettingsError: It is neither; quotes none of it.
    """
    text = text.strip()
    if not text.startswith(_PEM):
        if len(text.encode()) < SECRET_BYTES:
            problem = f"a secret takes at least {SECRET_BYTES} bytes: `openssl rand -hex 32` makes one"
            raise SettingsError([f"token key: {problem}"])
        return SigningKeys([text], ["HS256"])
    try:
        found = load_pem_public_key(text.encode())
    except ValueError as error:  # a private key, too
        raise SettingsError(["token key: it is no public key as PEM (-----BEGIN PUBLIC KEY-----)"]) from error
    for kind, algorithm in _ALGORITHMS.items():
        if isinstance(found, kind):
            return SigningKeys([text], [algorithm])
    raise SettingsError(["token key: it is no key of RSA, of an elliptic curve, or of Ed25519"])


def _fits(key: Key, algorithm: str) -> bool:
    return isinstance(key, str) or key.algorithm_name == algorithm
