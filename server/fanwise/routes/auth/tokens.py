"""Tokens: what a JSON Web Token (RFC 7519) lets its user read and publish, and until when."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAlgorithmError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidKeyError,
    InvalidSignatureError,
    InvalidTokenError,
    MissingRequiredClaimError,
)

from ...broadcaster.turns import SharedTurn
from ...core.codes import CodedError, ErrorCode
from ...core.rights import User
from ...errors import SettingsError, UserError, shorten
from .grants import Grant, Patterns
from .signing_keys import ChangingKeys, SigningKeys, open_key, open_key_file, open_key_set

TOKEN_BYTES: Final = 8_192  # of the largest token
PATTERNS: Final = 100  # of one claim
ALGORITHMS: Final = ("HS256", "RS256", "ES256", "EdDSA")
REQUIRED: Final = ("exp", "sub")
MOST_LEEWAY_SECONDS: Final = 30.0
SIGNATURE_SECONDS: Final = 1e-4  # that a verification takes which counts as one token
_CALMS: Final = 0.9  # what is left of the time that one has taken, at each quicker one
HELD_SECONDS: Final = 10.0  # for which a token waits at most
REMEMBERED: Final = 1_024  # tokens whose signature is not verified again
_USER_BYTES: Final = 255
_LATEST: Final = 1 << 40  # seconds since 1970: no later end is told apart

# What is said of a token, by what PyJWT raises: the first that fits.
_PROBLEMS: Final[Sequence[tuple[type[InvalidTokenError], str]]] = (
    (ExpiredSignatureError, "it has expired"),
    (ImmatureSignatureError, "it is not valid yet (nbf, iat)"),
    (InvalidAudienceError, "it is for another audience (aud)"),
    (InvalidIssuerError, "it is from another issuer (iss)"),
    (InvalidSignatureError, "its signature is not that of a known key"),
)


class TokenRules(NamedTuple):
    """What a token must be like.

    Attributes:
        algorithms: Of its signature, some of `ALGORITHMS`.
        audience: What `aud` must contain; None: the token may have none.
        issuer: What `iss` must be; None: any.
        leeway_seconds: By how much clocks may differ.
    """

    algorithms: Sequence[str]
    audience: str | None = None
    issuer: str | None = None
    leeway_seconds: float = 0.0


class Tokens:
    """Reads tokens. Owns the invariant that a signature which was verified counts no longer than its key and its token.

    Args:
        keys: The keys that they are signed with.
        rules: What they must be like.
    """

    def __init__(self, keys: SigningKeys, rules: TokenRules) -> None:
        self.keys = keys
        self._rules = rules
        self._known: dict[bytes, Grant] = {}  # {digest of a token: what it gives}, the latest last
        self._changes = keys.changes  # of the keys, when those were verified
        self._seconds = SIGNATURE_SECONDS  # that the next verification may take: keys are as large as issuers make them

    async def admit(self, token: str, verifier: Callable[[int], float]) -> Grant:
        """Returns what a token gives, when its turn comes: all verifications together hold the loop for 1 ms a turn.

        Args:
            token: The token.
            verifier: Counts verifications, those that take long as several; returns for how many seconds the next has
                to wait. A token that was read lately is not verified again.

        Raises:
            CodedError: The token is not valid, or its peer asks for too many; the error says why.
        """
        digest = blake2b(token.encode(errors="replace"), digest_size=32).digest()
        known = self._find(digest)
        if known is not None:
            return known
        debt = verifier(0)
        if debt > HELD_SECONDS:
            problem = f"the connection or its address sends too many tokens: come back in {math.ceil(debt)} seconds"
            raise CodedError(ErrorCode.TOKENS_TOO_FAST, problem)
        seconds = verifier(max(1, round(self._seconds / SIGNATURE_SECONDS)))
        if seconds:
            await asyncio.sleep(min(seconds, HELD_SECONDS))
        await SharedTurn().give_way(self._seconds)
        began = time.thread_time()
        try:
            grant = self.read(token)
        finally:
            took = time.thread_time() - began
            self._seconds = max(SIGNATURE_SECONDS, took, _CALMS * self._seconds)
        self._remember(digest, grant)
        return grant

    def _find(self, digest: bytes) -> Grant | None:
        if self.keys.changes != self._changes:
            self._known.clear()
        found = self._known.pop(digest, None)
        if found is None or found.has_expired:
            return None
        self._known[digest] = found  # now the latest
        return found

    def _remember(self, digest: bytes, grant: Grant) -> None:
        if self.keys.changes != self._changes:
            self._known.clear()
            self._changes = self.keys.changes
        if len(self._known) >= REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[digest] = grant

    def read(self, token: str) -> Grant:
        """Returns what a token gives. At most 4 signatures are verified, of RSA with 16,384 bits in 2 ms each.

        Claims: `sub` is the user, and `info` what others may know of it. `subscribe` and `publish` are lists of
        channels as `Patterns` takes them. `operate` is true for an operator.

        Raises:
            CodedError: The token is not valid; the error says why.
        """
        if len(token) > TOKEN_BYTES:
            raise _refused(f"it has {len(token)} bytes, more than {TOKEN_BYTES}")
        try:
            header = jwt.get_unverified_header(token)
        except (InvalidTokenError, RecursionError):  # of a head with a thousand brackets
            raise _refused("it is no JSON Web Token") from None
        algorithm = header.get("alg")
        if algorithm not in self._rules.algorithms:
            allowed = ", ".join(self._rules.algorithms)
            raise _refused(f"its algorithm is {shorten(str(algorithm))}; {allowed} are allowed")
        return _grant(self._verified(token, header.get("kid"), str(algorithm)), self._rules.leeway_seconds)

    def _verified(self, token: str, key_id: object, algorithm: str) -> Mapping[str, Any]:
        problem = "no key is known that it may be signed with"
        for key in self.keys.find(key_id, algorithm):
            try:
                claims: Mapping[str, Any] = jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm],
                    audience=self._rules.audience,
                    issuer=self._rules.issuer,
                    leeway=self._rules.leeway_seconds,
                    options={
                        "require": self._required(),
                        "verify_aud": self._rules.audience is not None,
                        "enforce_minimum_key_length": True,
                    },
                )
            except (InvalidSignatureError, InvalidAlgorithmError, InvalidKeyError) as error:
                problem = _problem(error)  # another key may be the one
            except InvalidTokenError as error:
                raise _refused(_problem(error)) from None
            except (RecursionError, OverflowError):  # of brackets, and of an exp that is Infinity
                raise _refused("it is malformed") from None
            else:
                return claims
        raise _refused(problem)

    def _required(self) -> list[str]:
        more = (("aud", self._rules.audience), ("iss", self._rules.issuer))
        return [*REQUIRED, *(claim for claim, wanted in more if wanted is not None)]


def open_tokens(
    *,
    key: str | None = None,
    key_file: str | None = None,
    jwks: str | None = None,
    algorithms: Sequence[str] = (),
    audience: str | None = None,
    issuer: str | None = None,
    leeway_seconds: float = 0.0,
) -> Tokens:
    """Returns what reads tokens, by one key or key set.

    Args:
        key: A secret of 32 bytes or more, for HS256, or a public key as PEM.
        key_file: A file with such a key.
        jwks: A JSON Web Key Set: a file, or its https URL. A set that changes is read anew.
        algorithms: Some of `ALGORITHMS`; by default those of the key, and of a set RS256, ES256 and EdDSA.
        audience: What `aud` must contain; None: the claim is not asked for.
        issuer: What `iss` must be; None: the claim is not asked for.
        leeway_seconds: By how much clocks may differ, at most 30.

    Raises:
        SettingsError: There is no key, or more than one, or the algorithms do not fit.
    """
    opened: list[SigningKeys] = []
    for place, read in ((key, open_key), (key_file, open_key_file), (jwks, open_key_set)):
        if place is not None:
            opened.append(read(place))
    if len(opened) != 1:
        raise SettingsError([f"tokens: there have to be one key, key file or key set, not {len(opened)}"])
    (keys,) = opened
    fit = ALGORITHMS if isinstance(keys, ChangingKeys) else keys.algorithms
    if not set(algorithms) <= set(fit):
        raise SettingsError([f"tokens: the algorithms are {', '.join(algorithms)}; the key is for {', '.join(fit)}"])
    if not 0 <= leeway_seconds <= MOST_LEEWAY_SECONDS:
        raise SettingsError([f"tokens: the leeway is {leeway_seconds} s; 0 to {MOST_LEEWAY_SECONDS:g} are allowed"])
    return Tokens(keys, TokenRules(tuple(algorithms) or keys.algorithms, audience, issuer, leeway_seconds))


def _problem(error: InvalidTokenError | InvalidKeyError) -> str:
    if isinstance(error, MissingRequiredClaimError):
        return f"it has no claim {error.claim}"
    if isinstance(error, (InvalidAlgorithmError, InvalidKeyError)):
        return "the key is not one of its algorithm"
    return next((text for kind, text in _PROBLEMS if isinstance(error, kind)), "it is malformed")


def _grant(claims: Mapping[str, Any], leeway_seconds: float) -> Grant:
    user, operate = claims["sub"], claims.get("operate", False)
    if not 1 <= len(user.encode(errors="replace")) <= _USER_BYTES:
        raise _refused(f"its sub has to have 1 to {_USER_BYTES} bytes")
    if not isinstance(operate, bool):
        raise _refused("its claim operate has to be true or false")
    expires_at = float(min(int(claims["exp"]), _LATEST)) + leeway_seconds
    try:
        whose = User(user, claims.get("info"), expires_at)
    except UserError as error:
        raise _refused(str(error)) from None
    return Grant(whose, _patterns(claims, "subscribe"), _patterns(claims, "publish"), operate)


def _patterns(claims: Mapping[str, Any], name: str) -> Patterns:
    found = claims.get(name, [])
    if not isinstance(found, list) or len(found) > PATTERNS or not all(isinstance(one, str) for one in found):
        raise _refused(f"its claim {name} has to be a list of at most {PATTERNS} channels")
    return Patterns(found)


def _refused(problem: str) -> CodedError:
    return CodedError(ErrorCode.UNAUTHORISED, f"the token is refused: {problem}")
