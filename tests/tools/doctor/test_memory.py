from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwise.core.channel import PUBLICATION_BYTES as COUNTED_BYTES
from fanwise.tools.doctor.findings import Level
from fanwise.tools.doctor.memory import CONNECTION_BYTES, PUBLICATION_BYTES, Demand, kernel, one_channel, process
from fanwise.tools.doctor.system import MemoryLimit

MIB, GIB = 1 << 20, 1 << 30
DEFAULTS = {"queue_messages": 1024, "queue_bytes": MIB, "history_messages": 1000, "history_bytes": 4 * MIB}
DEMAND = Demand(process_bytes=60_000_000, memory_bytes=GIB, clients=10_000)  # 1.19 GB


def limit(limit_bytes: float) -> MemoryLimit:
    return MemoryLimit(int(limit_bytes), "this machine")


@pytest.mark.parametrize(
    ("limit_bytes", "level"), [(8 * GIB, Level.OK), (1.75e9, Level.OK), (1.65e9, Level.WARN), (1.15e9, Level.FAIL)]
)
def test_what_the_settings_may_take_against_what_there_is(limit_bytes: float, level: Level) -> None:
    """Well within, more than 70 %, more than all of it."""
    found = process(DEMAND, limit(limit_bytes))
    assert found.level is level
    assert "at most 1.19 GB" in found.found
    assert "1.07 GB logs and transports (memory_bytes), 60 MB for 10,000 connections, 60 MB the process" in found.found


def test_the_sum_is_of_three() -> None:
    """The process, logs and transports, connections."""
    assert DEMAND.total_bytes == 60_000_000 + GIB + 10_000 * CONNECTION_BYTES


def test_a_publication_costs_what_the_server_counts() -> None:
    """The same number in both places."""
    assert PUBLICATION_BYTES == COUNTED_BYTES


@given(st.integers(1, 200_000), st.integers(2 * MIB, 64 * GIB), st.integers(130 * MIB, 16 * GIB), st.integers(20, 100))
def test_what_the_fix_says_fits(clients: int, memory_bytes: int, limit_bytes: int, process_mb: int) -> None:
    """Into 70 % of the limit: whoever does as told is not told again."""
    demand = Demand(process_mb * 1_000_000, memory_bytes, clients)
    found = process(demand, limit(limit_bytes))
    given_flags = dict(re.findall(r"(--[a-z-]+) (\d+)", found.fix))
    if found.level is Level.OK or "give it more memory" in found.fix:
        return
    better = demand._replace(
        memory_bytes=int(given_flags.get("--memory-bytes", memory_bytes)),
        clients=int(given_flags.get("--max-clients", clients)),
    )
    assert better != demand
    assert process(better, limit(limit_bytes)).level is Level.OK


def test_where_not_even_the_process_fits() -> None:
    """No setting helps."""
    found = process(DEMAND, limit(64 * MIB))
    assert found.level is Level.FAIL
    assert found.fix.startswith("give it more memory: 134 MB")


def test_a_queue_that_is_larger_than_the_memory() -> None:
    """Is found, though memory_bytes is twice of it, as the settings want it; and the fix helps."""
    wide = {**DEFAULTS, "queue_bytes": 512 * MIB}
    found = one_channel(limit(256 * MIB), memory_bytes=GIB, **wide)
    assert found.level is Level.FAIL
    assert (
        "a channel with a full log takes 1.07 GB (queue 537 MB, history 4.19 MB): more than the 268 MB" in found.found
    )
    flags = dict(re.findall(r"(--[a-z-]+) (\d+)", found.fix))
    assert flags == {"--queue-bytes": str(4 * MIB)}
    narrow = {**DEFAULTS, "queue_bytes": int(flags["--queue-bytes"])}
    assert one_channel(limit(256 * MIB), memory_bytes=128 * MIB, **narrow).level is Level.OK


def test_a_queue_of_too_many_messages() -> None:
    """Small publications take memory as well: objects."""
    found = one_channel(limit(8 * GIB), memory_bytes=GIB, **{**DEFAULTS, "queue_messages": 10_000_000})
    assert found.level is Level.WARN
    assert "so that logs are cut before a queue is full" in found.found
    assert re.findall(r"--[a-z-]+", found.fix) == ["--queue-messages"]


def test_a_queue_of_half_the_memory() -> None:
    """Is out of proportion, though it fits."""
    found = one_channel(limit(1.5e9), memory_bytes=GIB, **{**DEFAULTS, "queue_bytes": 500 * MIB})
    assert found.level is Level.WARN
    assert "more than half of the 1.5 GB of this machine" in found.found


def test_queues_as_they_are_by_default() -> None:
    """It says how many channels find room."""
    found = one_channel(limit(8 * GIB), memory_bytes=GIB, **DEFAULTS)
    assert found.level is Level.OK
    assert "takes 9.04 MB" in found.found
    assert "memory_bytes holds 118 of them" in found.found


def test_kernel_memory_comes_on_top() -> None:
    """It is no failure: everybody would have to stop reading at once."""
    assert kernel(DEMAND, limit(8 * GIB), client_bytes=54_000, tcp_bytes=None).level is Level.OK
    found = kernel(DEMAND, limit(1.7e9), client_bytes=54_000, tcp_bytes=None)
    assert found.level is Level.WARN
    assert "565 MB in sockets if all 10,000 clients stop reading at once, 56.5 KB each" in found.found


def test_the_kernel_has_a_bound_of_its_own() -> None:
    """net.ipv4.tcp_mem: more than that it does not take."""
    found = kernel(DEMAND, limit(1.7e9), client_bytes=54_000, tcp_bytes=400_000_000)
    assert found.level is Level.OK
    assert "the kernel gives all TCP together 400 MB" in found.found
