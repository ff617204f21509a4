from __future__ import annotations

import pytest

from fanwise.backplane.nats.address import Address, parse
from fanwise.errors import SettingsError


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("nats://localhost", Address(hosts=(("localhost", 4222),))),
        ("nats://app:p%40ss@10.0.0.1:7000/", Address(hosts=(("10.0.0.1", 7000),), user="app", password="p@ss")),
        ("nats://t0ken@[::1]:7000", Address(hosts=(("::1", 7000),), user="t0ken")),
        ("nats://a,b:4333,c", Address(hosts=(("a", 4222), ("b", 4333), ("c", 4222)))),
        ("tls://h?ca=/ca.pem", Address(hosts=(("h", 4222),), tls=True, ca="/ca.pem")),
        ("tls://h?cert=/c&key=/k", Address(hosts=(("h", 4222),), tls=True, cert="/c", key="/k")),
    ],
)
def test_an_address_is_read(url: str, address: Address) -> None:
    """And shown without its password or token."""
    assert parse(url) == address
    assert not address.secret or address.secret not in f"{address} {address!r}"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://h", "its scheme is none of nats, tls"),
        ("nats://", "'' is no host"),
        ("nats://h,", "'' is no host"),
        ("nats://h:port", "'h:port' is no host"),
        ("nats://:s3cret@h/1", "options ca, cert, key and nothing else"),
        ("nats://h?tls=1", "options ca, cert, key"),
        ("nats://h?ca=/c", "for tls://"),
    ],
)
def test_a_bad_address_is_explained(url: str, problem: str) -> None:
    """What is wrong and what is allowed, and never a password."""
    with pytest.raises(SettingsError, match=problem) as caught:
        parse(url)
    assert "s3cret" not in str(caught.value)


def test_certificates_that_are_not_there() -> None:
    """The URL and the file's problem are named."""
    with pytest.raises(SettingsError, match=r"tls://h:4222: its certificates cannot be used: .*No such file"):
        parse("tls://h?ca=/nowhere").context()
