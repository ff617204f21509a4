from __future__ import annotations

import resource

import pytest

from fanwise.tools.doctor.findings import Level
from fanwise.tools.doctor.limits import SPARE_FILES, backlog, descriptors, open_files, room


@pytest.mark.parametrize(
    ("hard", "max_clients", "level"),
    [
        (100_064, 100_000, Level.OK),
        (100_063, 100_000, Level.WARN),
        (20_000, 100_000, Level.WARN),
        (256, 100_000, Level.FAIL),
        (256, 192, Level.OK),
        (256, 193, Level.FAIL),
        (10, 1, Level.FAIL),
    ],
)
def test_descriptors_against_clients(hard: int, max_clients: int, level: Level) -> None:
    """Enough, fewer than clients may come, or hardly any."""
    found = descriptors(soft=hard, hard=hard, ceiling=1_048_576, max_clients=max_clients)
    assert found.level is level
    if level is not Level.OK:
        assert f"{max_clients + SPARE_FILES:,}" in found.fix
        assert f"--max-clients {max(room(hard), 1)}" in found.fix


def test_the_soft_limit_is_no_problem() -> None:
    """The server raises it itself."""
    found = descriptors(soft=1024, hard=524_288, ceiling=None, max_clients=100_000)
    assert found.level is Level.OK
    assert "524,288 (the soft limit of 1,024 is raised to it)" in found.found


def test_limits_of_this_process() -> None:
    """Unlimited is what the kernel allows."""
    soft, hard = open_files(1 << 20)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    expected = tuple(1 << 20 if limit == resource.RLIM_INFINITY else limit for limit in before)
    assert (soft, hard) == expected


@pytest.mark.parametrize(("somaxconn", "level"), [(4096, Level.OK), (2048, Level.OK), (128, Level.WARN)])
def test_the_backlog_is_cut_by_the_kernel(somaxconn: int, level: Level) -> None:
    """If it is longer than somaxconn."""
    found = backlog(asked=2048, somaxconn=somaxconn)
    assert found.level is level
    assert ("sysctl -w net.core.somaxconn=4096" in found.fix) is (level is Level.WARN)
