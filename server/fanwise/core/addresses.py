"""Addresses of peers, as sockets and headers spell them."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

_SITE_BYTES: Final = 8  # a site, and often a single host, has an IPv6 /64 (RFC 4291 section 2.5.1)
SHOWN_CHARACTERS: Final = 64  # of a peer's host: an IPv6 address with its zone has at most 61


def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """Returns the address in "192.0.2.7", "192.0.2.7:80", "2001:db8::1" or "[2001:db8::1]:80"; None for other texts.

    An IPv4 address that is mapped into IPv6 (::ffff:192.0.2.7) is the IPv4 address.
    """
    return _read_short(text) if len(text) <= SHOWN_CHARACTERS else _read(text)


@lru_cache(maxsize=1_024)
def _read_short(text: str) -> IPv4Address | IPv6Address | None:
    """Returns the address in a text that is worth remembering: a connection asks for its peer's and its host's anew."""
    return _read(text)


def _read(text: str) -> IPv4Address | IPv6Address | None:
    if text.startswith("["):
        text, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not is_port(rest)):
            return None
    elif text.count(":") == 1:
        text, colon, rest = text.partition(":")
        if not is_port(colon + rest):
            return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_port(text: str) -> bool:
    """Returns whether `text` is a colon and a port."""
    return text.startswith(":") and text[1:].isdecimal() and text.isascii() and len(text) <= len(":65535")


def is_loopback(host: str) -> bool:
    """Returns whether `host` is an address of this machine that others do not reach, or `localhost`."""
    return _is_short_loopback(host) if len(host) <= SHOWN_CHARACTERS else _is_loopback(host)


@lru_cache(maxsize=1_024)
def _is_short_loopback(host: str) -> bool:
    return _is_loopback(host)


def _is_loopback(host: str) -> bool:
    address = read_address(host)
    return host == "localhost" if address is None else address.is_loopback


def site_of(host: str) -> str:
    """Returns what counts as one peer: an IPv4 address, or the /64 of an IPv6 address; other texts as they are."""
    address = read_address(host)
    if not isinstance(address, IPv6Address):
        return host[:SHOWN_CHARACTERS] if address is None else str(address)
    return f"{IPv6Address(address.packed[:_SITE_BYTES].ljust(16, bytes(1)))}/64"


def owner_of(address: str) -> str:
    """Returns the site of a client's address, "host:port"; empty for loopback, which is exempt from bounds of sites."""
    host = address.rpartition(":")[0]
    return "" if is_loopback(host) else site_of(host)
