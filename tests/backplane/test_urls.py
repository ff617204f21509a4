from __future__ import annotations

import pytest

from fanwise.backplane.options import Options
from fanwise.backplane.redis.backplane import RedisBackplane
from fanwise.backplane.urls import backplane_from, default_replicas, passwords, shown
from fanwise.errors import SettingsError


def test_several_urls_are_shards() -> None:
    """In their order, which all servers must have."""
    backplane = backplane_from("redis://a unix:///b", Options())
    assert isinstance(backplane, RedisBackplane)
    assert [str(address) for address in backplane._addresses] == ["redis://a:6379", "unix:///b"]


def test_what_logs_show_and_hide_of_urls() -> None:
    """Users and passwords stand in no line; only a long password can be told from a word."""
    urls = "redis://user:long-enough@a unix:///b redis+sentinel://:short@c,d/name"
    assert shown(urls) == "redis://a:6379 unix:///b redis+sentinel://c:26379,d:26379/name"
    assert passwords(urls) == ["long-enough"]


def test_sentinels_and_clusters_ask_for_a_replica() -> None:
    """One of which they may promote; and so does a cluster of NATS, in which another server goes on."""
    assert [default_replicas(urls) for urls in ("redis://a", "redis://a redis+sentinel://b/name")] == [0, 1]
    assert [default_replicas(urls) for urls in ("nats://a", "nats://a,b,c")] == [0, 1]


@pytest.mark.parametrize("urls", ["", "  ", "redis://a http://b"])
def test_what_is_no_url_is_refused(urls: str) -> None:
    """With what is allowed."""
    with pytest.raises(SettingsError, match="redis"):
        backplane_from(urls, Options())


def test_the_extra_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than an ImportError."""
    monkeypatch.setattr("fanwise.backplane.urls.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"pip install 'fanwise\[redis\]'"):
        backplane_from("redis://a", Options())


@pytest.mark.parametrize(
    "url",
    [
        *(f"redis://:secret{letter}secret@host:1" for letter in "/?#[ "),
        "redis://:secret@host,redis://:secret@host:1",
        "unix://:secret/secret@host:1",
        "nats://user:secret/secret@host:1",
        "nats://secret[@host:1",
        "user:secret@host:1",
        "secret@host:1",
    ],
)
def test_no_part_of_a_password_is_shown(url: str) -> None:
    """Where a / or another letter ends the host before its login has: the text says how to write these."""
    with pytest.raises(SettingsError, match=r"host:1: .* %2F") as caught:
        backplane_from(url, Options())
    assert "secret" not in str(caught.value)


def test_logins_and_paths_may_have_any_letter() -> None:
    """Written as %2F and so on; the @ in the path of a socket is one of them that needs no such form."""
    assert passwords("redis://:long%2Fenough%40@host") == ["long/enough@"]
    assert shown("unix:///run/a@b unix://:secret@/run/a@b redis://[::1]") == (
        "unix:///run/a@b unix:///run/a@b redis://[::1]:6379"
    )
