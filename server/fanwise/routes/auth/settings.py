"""The settings of access: keys, tokens, what listening asks for, origins and hosts."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from ...core.roles import Role, read_keys
from .hosts import read_network

# Fields that are shown nowhere.
SECRET: Final = frozenset({"api_key", "token_key"})
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+")
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Algorithms = Annotated[tuple[Literal["HS256", "RS256", "ES256", "EdDSA"], ...], NoDecode, BeforeValidator(_split)]


class AccessSettings(BaseSettings):
    """Who may read, publish and operate, and which pages may connect."""

    api_key: SecretStr | None = Field(
        None, description="key that publishing and operating ask for, or several: KEY,publish+read:KEY"
    )
    read: Literal["open", "key", "token"] = Field(
        "open", description="what listening, histories and lists ask for: open is nothing"
    )
    token_key: SecretStr | None = Field(
        None, description="key of tokens: a secret of 32 bytes or more, or a public key as PEM"
    )
    token_key_file: str | None = Field(None, description="file with the key of tokens")
    token_jwks: str | None = Field(
        None, description="keys of tokens: a JWKS file, or its https URL; read anew by itself"
    )
    token_algorithms: Algorithms = Field(
        (),
        description="algorithms of tokens: HS256, RS256, ES256, EdDSA; by default those of the key, of JWKS not HS256",
    )
    token_audience: str | None = Field(None, description="audience that tokens name (aud); by default not asked for")
    token_issuer: str | None = Field(None, description="issuer that tokens name (iss); by default not asked for")
    token_leeway_seconds: Annotated[float, Field(ge=0, le=30)] = Field(
        0.0, description="by how much the clocks of issuers may differ"
    )
    allowed_origins: Listed = Field((), description="origins of pages on other hosts that may connect, or *")
    allowed_hosts: Listed = Field(
        (), description="hosts that requests may name, or *; by default those of loopback if it listens there, else *"
    )

    @field_validator("api_key")
    @classmethod
    def _keys_fit_into_a_header(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None:
            read_keys(keys.get_secret_value())
        return keys

    @field_validator("allowed_origins")
    @classmethod
    def _origins_are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and _ORIGIN.fullmatch(origin) is None:
                raise ValueError(f"{origin!r} is not an origin: it looks like https://example.com, or is * for all")
        return tuple(origin.lower() for origin in origins)  # as browsers send them

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts_are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if host != "*" and read_network(host) is None and _HOST_NAME.fullmatch(host) is None:
                raise ValueError(
                    f"{host!r} is no host: it looks like example.com, 192.0.2.7, [::1] or 192.0.2.0/24, "
                    "without a port, or is * for all"
                )
        return hosts

    @property
    def takes_tokens(self) -> bool:
        """Whether there are keys of tokens."""
        return any(one is not None for one in (self.token_key, self.token_key_file, self.token_jwks))

    @property
    def publishing(self) -> str:
        """What publishing asks for: "key", "token" (or a key), or "open" for nothing."""
        return "token" if self.takes_tokens else "key" if self.api_key is not None else "open"

    @model_validator(mode="after")
    def _tokens_have_one_key(self) -> AccessSettings:
        keys = [one for one in (self.token_key, self.token_key_file, self.token_jwks) if one is not None]
        names = "FANWISE_TOKEN_KEY, FANWISE_TOKEN_KEY_FILE and FANWISE_TOKEN_JWKS"
        if len(keys) > 1:
            raise ValueError(f"there are {len(keys)} keys of tokens: set one of {names}")
        about = (self.token_algorithms, self.token_audience, self.token_issuer, self.token_leeway_seconds)
        if not keys and any(about):
            raise ValueError(f"there is no key of tokens, which other settings are about: set one of {names}")
        if not keys and self.read == "token":
            raise ValueError(f"FANWISE_READ (--read) is token, and there is no key of tokens: set one of {names}")
        return self

    @model_validator(mode="after")
    def _readers_have_a_key(self) -> AccessSettings:
        keys = {} if self.api_key is None else read_keys(self.api_key.get_secret_value())
        if self.read == "key" and not any(Role.READ in roles for roles in keys.values()):
            raise ValueError("FANWISE_READ (--read) is key, and no key has the role read: set FANWISE_API_KEY")
        return self
