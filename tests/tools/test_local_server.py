from __future__ import annotations

import os
import socket

import psutil
import pytest

from fanwise.tools.bench.run.servers import FANWISE
from fanwise.tools.local_server import HOST, LocalServer, NotStartedError, does_not_listen, running

from ..support.processes import free_port


def test_a_server_of_our_own() -> None:
    """Listens while the context lasts, where it was pinned, and is gone after it."""
    cpu = min(os.sched_getaffinity(0))
    with running(FANWISE, cpus=(cpu,)) as server:
        socket.create_connection((HOST, server.port)).close()
        assert psutil.Process(server.pid).cpu_affinity() == [cpu]
    assert not psutil.pid_exists(server.pid)


def test_the_variables_of_a_server() -> None:
    """Stand beside those of this process; the port is one of its arguments."""
    show = 'import os, sys; sys.exit(f\'{sys.argv[1].isdecimal()} {os.environ["PATH"] > ""} {os.environ["OURS"]}\')'
    with pytest.raises(NotStartedError, match="True True x"), running(("-c", show, "{port}"), environ={"OURS": "x"}):
        pass


def test_one_that_does_not_start() -> None:
    """Says why: the last lines that it printed, in one."""
    with (
        pytest.raises(NotStartedError, match=r"did not start: two; three; boom$"),
        running(("-c", "raise SystemExit('one\\ntwo\\nthree\\nboom')")),
    ):
        pass


def test_one_that_ends_without_a_word() -> None:
    """The reason why it was not ready is all there is to say."""
    with pytest.raises(NotStartedError, match="did not start: too early"), running(("-c", ""), not_ready=too_early):
        pass


def too_early(_server: LocalServer) -> str:
    return "too early"


def test_where_nothing_listens() -> None:
    """The system's own words."""
    assert "refused" in (does_not_listen(LocalServer(free_port(), 0)) or "").lower()
