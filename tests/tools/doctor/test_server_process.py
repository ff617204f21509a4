from __future__ import annotations

import psutil
import pytest

from fanwise.tools.doctor.server_process import hosting
from fanwise.tools.local_server import NotStartedError

from ...support.processes import free_port


def test_a_server_of_our_own() -> None:
    """With the settings that it is given, on a port of its own; it is gone when the context is left."""
    environ = {"FANWISE_QUEUE_MESSAGES": "77", "FANWISE_HOST": "0.0.0.0", "FANWISE_API_KEY": "correct-horse"}
    with hosting(environ, api_key="correct-horse", secure=False) as remote:
        stats = remote.stats()
        assert stats["limits"]["queue_messages"] == 77
        assert remote.host == "127.0.0.1"
        listening = [one for one in psutil.Process(stats["server"]["pid"]).net_connections() if one.status == "LISTEN"]
        assert {one.laddr.ip for one in listening} == {"127.0.0.1"}
    assert not psutil.pid_exists(stats["server"]["pid"])


def test_the_checks_may_name_the_address() -> None:
    """Also where the settings allow another host alone."""
    with hosting({"FANWISE_ALLOWED_HOSTS": "fanwise.example"}, api_key=None, secure=False) as remote:
        assert remote.stats()["version"] == 1


def test_there_is_room_for_those_who_look() -> None:
    """However few clients the settings allow."""
    with hosting({"FANWISE_MAX_CLIENTS": "1"}, api_key=None, secure=False) as remote:
        assert remote.stats()["limits"]["max_clients"] > 10


def test_one_that_does_not_start() -> None:
    """Says why, in a line."""
    with (
        pytest.raises(NotStartedError, match=r"did not start: .*FANWISE_SLICE_BYTES.*'many'") as caught,
        hosting({"FANWISE_SLICE_BYTES": "many"}, api_key=None, secure=False),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_a_foreign_certificate_cannot_be_used() -> None:
    """A file that is not there."""
    files = {"FANWISE_SSL_CERTFILE": f"/nonexistent/{free_port()}", "FANWISE_SSL_KEYFILE": "/nonexistent/key"}
    with pytest.raises(NotStartedError), hosting(files, api_key=None, secure=True):
        pass
