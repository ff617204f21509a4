from __future__ import annotations

import pytest

from fanwise.backplane.options import Options
from fanwise.backplane.redis.backplane import RedisBackplane
from fanwise.backplane.urls import backplane_from
from fanwise.errors import SettingsError


def test_several_urls_are_shards() -> None:
    """In their order, which all servers must have."""
    backplane = backplane_from("redis://a unix:///b", Options())
    assert isinstance(backplane, RedisBackplane)
    assert [str(address) for address in backplane._addresses] == ["redis://a:6379", "unix:///b"]


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
