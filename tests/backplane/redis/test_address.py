from __future__ import annotations

import pytest

from fanwise.backplane.redis.address import Address, parse
from fanwise.errors import SettingsError


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://localhost", Address(hosts=(("localhost", 6379),))),
        ("redis://:p%40ss@10.0.0.1:7000/0", Address(hosts=(("10.0.0.1", 7000),), password="p@ss")),
        ("redis://app:word@[::1]:7000/", Address(hosts=(("::1", 7000),), user="app", password="word")),
        ("rediss://h?ca=/ca.pem", Address(hosts=(("h", 6379),), tls=True, ca="/ca.pem")),
        ("rediss://h?cert=/c&key=/k", Address(hosts=(("h", 6379),), tls=True, cert="/c", key="/k")),
        ("unix:///run/redis/s", Address(path="/run/redis/s")),
        ("unix://:word@/run/s", Address(path="/run/s", password="word")),
        ("redis+sentinel://a,b:26380/main", Address(hosts=(("a", 26379), ("b", 26380)), service="main")),
        ("rediss+sentinel://:w@a/main", Address(hosts=(("a", 26379),), service="main", password="w", tls=True)),
    ],
)
def test_an_address_is_read(url: str, address: Address) -> None:
    """And shown without its password."""
    assert parse(url) == address
    assert not address.password or address.password not in f"{address} {address!r}"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://h", "its scheme is none of redis, rediss, unix, redis"),
        ("redis://", "'' is no host"),
        ("redis://h:port", "'h:port' is no host"),
        ("redis://:s3cret@h/1", "only database 0"),
        ("redis://h?ssl=1", "options ca, cert, key"),
        ("redis://h?ca=/c", "for rediss://"),
        ("redis://user@h", "a user and no password"),
        ("unix://h/s", "unix:///path/of/socket"),
        ("unix://", "unix:///path/of/socket"),
        ("redis+sentinel://:s3cret@h", "redis.sentinel://host:26379,host:26379/NAME"),
    ],
)
def test_a_bad_address_is_explained(url: str, problem: str) -> None:
    """What is wrong and what is allowed, and never a password."""
    with pytest.raises(SettingsError, match=problem) as caught:
        parse(url)
    assert "s3cret" not in str(caught.value)


def test_certificates_that_are_not_there() -> None:
    """The URL and the file's problem are named."""
    with pytest.raises(SettingsError, match=r"rediss://h:6379: its certificates cannot be used: .*No such file"):
        parse("rediss://h?ca=/nowhere").context()
