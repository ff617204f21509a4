from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

import psutil
import pytest

from fanwise.tools.bench.errors import BenchFailedError
from fanwise.tools.bench.run.hosts import FANWISE, hosting


def test_a_server_of_our_own() -> None:
    """Listens while the context lasts, where it was pinned, and is gone after it."""
    cpu = min(os.sched_getaffinity(0))
    with hosting(FANWISE, cpus=(cpu,)) as host:
        parts = urlsplit(host.url)
        socket.create_connection((parts.hostname or "", parts.port or 0)).close()
        assert psutil.Process(host.pid).cpu_affinity() == [cpu]
    assert not psutil.pid_exists(host.pid)


def test_one_that_does_not_start() -> None:
    """Says why."""
    with pytest.raises(BenchFailedError, match=r"did not start .*boom"), hosting(("-c", "raise SystemExit('boom')")):
        pass
