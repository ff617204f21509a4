"""Tokens: what is refused, and why; what one gives."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWKSet
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from fanwise.core.codes import CodedError, ErrorCode
from fanwise.errors import SettingsError
from fanwise.routes.auth.grants import Grant
from fanwise.routes.auth.signing_keys import SigningKeys
from fanwise.routes.auth.tokens import TokenRules, Tokens, open_tokens

SECRET = "a secret of thirty-two bytes....."
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
BY_SECRET = Tokens(SigningKeys([SECRET]), TokenRules(["HS256"], audience="chat", issuer="https://id.example"))
BY_RSA = Tokens(SigningKeys([PEM]), TokenRules(["RS256"]))


def key_set(**keys: Any) -> PyJWKSet:
    return PyJWKSet.from_dict({"keys": [{**json.loads(key), "kid": name} for name, key in keys.items()]})


BY_SET = Tokens(
    SigningKeys(
        key_set(
            rsa=RSAAlgorithm.to_jwk(RSA.public_key()),
            curve=ECAlgorithm.to_jwk(CURVE.public_key()),
            edwards=OKPAlgorithm.to_jwk(EDWARDS.public_key()),
        ).keys
    ),
    TokenRules(["RS256", "ES256", "EdDSA"], leeway_seconds=10),
)


def claims(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    usual = {"sub": "ann", "exp": now + 60, "aud": "chat", "iss": "https://id.example", "subscribe": ["a.*"]}
    return {name: value for name, value in {**usual, **more}.items() if value is not None}


def signed(key: Any = SECRET, algorithm: str = "HS256", headers: Mapping[str, Any] | None = None, **more: Any) -> str:
    return jwt.encode(claims(**more), key, algorithm=algorithm, headers=dict(headers or {}))


def raw(head: bytes | str, body: bytes | str = b"{}") -> str:
    """A token of these two parts, signed by nobody."""
    parts = [part.encode() if isinstance(part, str) else part for part in (head, body, b"")]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def confused() -> str:
    """HS256 with the public key as its secret, made by hand: PyJWT refuses to."""
    text = raw('{"alg":"HS256","typ":"JWT"}', json.dumps(claims()))[:-1]
    mac = hmac.new(PEM.encode(), text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


NOW = time.time()
REFUSED: dict[str, tuple[Tokens, Callable[[], str], str]] = {
    "nothing": (BY_SECRET, lambda: "", "no JSON Web Token"),
    "no token": (BY_SECRET, lambda: "hello", "no JSON Web Token"),
    "no ASCII": (BY_SECRET, lambda: "h\u00e4.\u00e4.\u00e4", "no JSON Web Token"),
    "1 MB": (BY_SECRET, lambda: "x" * 1_000_000, "more than 8192"),
    "brackets in the head": (BY_SECRET, lambda: raw("[" * 5_000), "no JSON Web Token"),
    "a list as the head": (BY_SECRET, lambda: raw("[]"), "no JSON Web Token"),
    "alg=none": (BY_SECRET, lambda: raw('{"alg":"none"}', json.dumps(claims())), "algorithm is 'none'"),
    "alg=None": (BY_SECRET, lambda: raw('{"alg":null}', json.dumps(claims())), "algorithm is 'None'"),
    "no alg": (BY_SECRET, lambda: raw("{}", json.dumps(claims())), "algorithm is 'None'"),
    "another algorithm": (BY_SECRET, lambda: signed(SECRET * 2, algorithm="HS384"), "HS256 are allowed"),
    "another secret": (BY_SECRET, lambda: signed("another secret of thirty-two bytes"), "signature"),
    "not signed": (BY_SECRET, lambda: signed().rpartition(".")[0] + ".", "signature"),
    "HS with the RSA key as secret": (BY_RSA, confused, "RS256 are allowed"),
    "the same where both are allowed": (
        Tokens(SigningKeys([PEM]), TokenRules(["HS256", "RS256"])), confused, "not one of its algorithm",
    ),
    "RS where the key is a secret": (BY_SECRET, lambda: signed(RSA, "RS256"), "HS256 are allowed"),
    "another RSA key": (BY_RSA, lambda: signed(OTHER_RSA, "RS256"), "signature"),
    "unknown kid": (BY_SET, lambda: signed(RSA, "RS256", {"kid": "gone"}), "no key is known"),
    "the kid of another kind": (BY_SET, lambda: signed(RSA, "RS256", {"kid": "curve"}), "not one of its algorithm"),
    "a kid that is no text": (BY_SET, lambda: raw('{"alg":"RS256","kid":[1]}', json.dumps(claims())), "no JSON Web"),
    "expired": (BY_SECRET, lambda: signed(exp=int(NOW) - 1), "expired"),
    "expired beyond the leeway": (BY_SET, lambda: signed(RSA, "RS256", exp=int(time.time()) - 11), "expired"),
    "no exp": (BY_SECRET, lambda: signed(exp=None), "no claim exp"),
    "exp of 400 digits, as text": (BY_SECRET, lambda: signed(exp="9" * 400 + "x"), "malformed"),
    "an infinite exp": (BY_SECRET, lambda: signed(exp=float("inf")), "malformed"),
    "no sub": (BY_SECRET, lambda: signed(sub=None), "no claim sub"),
    "an empty sub": (BY_SECRET, lambda: signed(sub=""), "1 to 255 bytes"),
    "a long sub": (BY_SECRET, lambda: signed(sub="x" * 256), "1 to 255 bytes"),
    "a sub that is no text": (BY_SECRET, lambda: signed(sub=7), "malformed"),
    "wrong aud": (BY_SECRET, lambda: signed(aud="mail"), "another audience"),
    "no aud": (BY_SECRET, lambda: signed(aud=None), "no claim aud"),
    "wrong iss": (BY_SECRET, lambda: signed(iss="https://evil.example"), "another issuer"),
    "no iss": (BY_SECRET, lambda: signed(iss=None), "no claim iss"),
    "future nbf": (BY_SECRET, lambda: signed(nbf=int(NOW) + 3600), "not valid yet"),
    "future iat": (BY_SECRET, lambda: signed(iat=int(NOW) + 3600), "not valid yet"),
    "channels that are no list": (BY_SECRET, lambda: signed(subscribe="a"), "claim subscribe has to be a list"),
    "channels that are no text": (BY_SECRET, lambda: signed(publish=[1]), "claim publish has to be a list"),
    "101 channels": (BY_SECRET, lambda: signed(publish=["a"] * 101), "at most 100"),
    "an operator by word of mouth": (BY_SECRET, lambda: signed(operate="yes"), "true or false"),
    "much to say of oneself": (BY_SECRET, lambda: signed(info="x" * 1_100), "1024 are allowed"),
    "a critical field": (BY_SECRET, lambda: signed(headers={"crit": ["new"], "new": 1}), "no JSON Web Token"),
}  # fmt: skip


@pytest.mark.parametrize(("tokens", "token", "why"), REFUSED.values(), ids=REFUSED)
def test_refused(tokens: Tokens, token: Callable[[], str], why: str) -> None:
    """Each for its own reason, which the error says."""
    with pytest.raises(CodedError) as refused:
        tokens.read(token())
    assert refused.value.code is ErrorCode.UNAUTHORISED
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("key", "algorithm", "key_id"),
    [(RSA, "RS256", "rsa"), (CURVE, "ES256", "curve"), (EDWARDS, "EdDSA", "edwards"), (EDWARDS, "EdDSA", None)],
    ids=["RS256", "ES256", "EdDSA", "without a key ID"],
)
def test_a_key_set(key: Any, algorithm: str, key_id: str | None) -> None:
    """A token is verified with the key that it names, or with those of its algorithm."""
    headers = {"kid": key_id} if key_id else {}
    grant = BY_SET.read(signed(key, algorithm, headers, sub="bob", publish=["a.b"]))
    assert (grant.user.id, grant.subscribe.match("a.c"), grant.publish.match("a.c")) == ("bob", True, False)


def test_what_a_token_gives() -> None:
    """Nothing but what it names, until its end."""
    ends = int(time.time()) + 5
    grant = BY_SECRET.read(signed(exp=ends))
    assert (grant.user.expires_at, grant.subscribe.match("a.b"), grant.publish.match("a.b")) == (ends, True, False)
    assert BY_SECRET.read(signed(exp=10**300)).user.expires_at == 1 << 40
    assert BY_SET.read(signed(RSA, "RS256", exp=int(time.time()) - 5)).user.id == "ann"  # within the leeway


def none_counted(_tokens: int) -> float:
    return 0.0


@pytest.mark.anyio
async def test_a_signature_is_verified_once() -> None:
    """Until its token has expired, or the keys have changed."""
    counted: list[int] = []

    def count(tokens: int) -> float:
        counted.append(tokens)
        return 0.0

    keys = SigningKeys([SECRET])
    tokens = Tokens(keys, TokenRules(["HS256"]))
    token = signed(aud=None, info={"name": "Ann"}, operate=True)
    grants = [await tokens.admit(token, count) for _ in range(3)]
    assert (counted, grants[0].user.info, grants[2].operate) == ([0, 1], {"name": "Ann"}, True)
    keys._keys = ("another secret of thirty-two bytes",)
    keys.changes += 1
    with pytest.raises(CodedError, match="signature"):
        await tokens.admit(token, count)
    now = time.time()
    old = signed("another secret of thirty-two bytes", aud=None, exp=int(now) + 60)
    await tokens.admit(old, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time", lambda: now + 100)
        assert tokens._find(next(reversed(tokens._known))) is None


@pytest.mark.anyio
async def test_many_tokens_hold_the_loop_for_a_turn_each() -> None:
    """And no more are remembered than there is room for."""
    tokens = Tokens(SigningKeys([SECRET]), TokenRules(["HS256"]))
    turns = 0

    async def look() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    looker = asyncio.create_task(look())
    many = [signed(aud=None, sub=f"{number}") for number in range(1_100)]
    await asyncio.gather(*(tokens.admit(token, none_counted) for token in many))
    looker.cancel()
    assert turns > 20
    assert len(tokens._known) == 1_024


@pytest.mark.anyio
async def test_tokens_of_a_large_key_count_as_several() -> None:
    """By the processor's time that one before has taken, valid or not: a key of 16,384 bits takes 2 ms."""

    class Slow(Tokens):
        def read(self, token: str) -> Grant:
            ends_at = time.thread_time() + 0.003
            while time.thread_time() < ends_at:
                pass
            return super().read(token)

    counted: list[int] = []

    def count(tokens: int) -> float:
        counted.append(tokens)
        return 0.0

    tokens = Slow(SigningKeys([SECRET]), TokenRules(["HS256"]))
    for number in range(2):
        with pytest.raises(CodedError, match="expired"):
            await tokens.admit(signed(aud=None, exp=number + 1), count)
    assert counted[:3] == [0, 1, 0]
    assert counted[3] >= 30


@pytest.mark.anyio
async def test_a_debt_of_tokens() -> None:
    """An address that has asked for too many comes back later."""
    tokens = Tokens(SigningKeys([SECRET]), TokenRules(["HS256"]))
    with pytest.raises(CodedError, match="come back in 12 seconds") as refused:
        await tokens.admit(signed(aud=None), lambda _: 11.5)
    assert refused.value.code is ErrorCode.TOKENS_TOO_FAST


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "not 0"),
        ({"key": SECRET, "jwks": "https://id.example/keys"}, "not 2"),
        ({"key": SECRET, "algorithms": ["RS256"]}, "the key is for HS256"),
        ({"key": PEM, "algorithms": ["RS256", "HS256"]}, "the key is for RS256"),
        ({"key": SECRET, "leeway_seconds": 31}, "0 to 30 are allowed"),
    ],
)
def test_tokens_that_cannot_be_read(given: dict[str, Any], why: str) -> None:
    """A public key is never a secret."""
    with pytest.raises(SettingsError, match=why):
        open_tokens(**given)
