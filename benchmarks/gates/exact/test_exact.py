from __future__ import annotations

import socket

import pytest
import uvloop

from benchmarks.gates.exact import observed, peers, virtual
from benchmarks.gates.exact.__main__ import PARTS, countable, look, report
from benchmarks.gates.exact.calls import counted, figures_of
from benchmarks.gates.exact.clock import Clock
from benchmarks.gates.exact.figures import Part, judge
from benchmarks.gates.skipping import SkippedError
from benchmarks.gates.trees import Trees

PART = Part("calls", "system calls", share=0.02, most=0.5)

TRACE = r"""
7 newfstatat(AT_FDCWD, "/before", 0x7ffd, 0) = -1 ENOENT (No such file or directory)
9 newfstatat(AT_FDCWD, "/mark-fan-out", 0x7ffd, 0) = -1 ENOENT (No such file or directory)
9 write(1, "False\n", 6) = 6
7 epoll_pwait(3, [{events=EPOLLIN, data={u32=9, u64=9}}], 1024, 75, NULL, 8) = 1
7 read(9, "\x81\x8d", 262144) = 19
7 write(9, "\x81\x05hello", 7 <unfinished ...>
9 read(0,  <unfinished ...>
7 <... write resumed>) = 7
7 read(9, 0x7f, 262144) = -1 EAGAIN (Resource temporarily unavailable)
7 openat(AT_FDCWD, "/proc/self/statm", O_RDONLY|O_CLOEXEC) = 14
7 newfstatat(14, "", {st_mode=S_IFREG|0444, st_size=0, ...}, AT_EMPTY_PATH) = 0
7 read(14, "30171 12064", 1024) = 11
7 close(14) = 0
8 openat(AT_FDCWD, "/proc/self/stat", O_RDONLY|O_CLOEXEC <unfinished ...>
7 epoll_pwait(3,  <unfinished ...>
8 <... openat resumed>) = 15
8 read(15,  <unfinished ...>
7 <... epoll_pwait resumed>[{events=EPOLLIN, data={u32=9, u64=9}}], 1024, 75, NULL, 8) = 1
8 <... read resumed>"7 (python) S", 1024) = 12
8 close(15 <unfinished ...>
7 epoll_pwait(3,  <unfinished ...>
8 <... close resumed>) = 0
7 <... epoll_pwait resumed>[], 1024, 75, NULL, 8) = 0
7 epoll_pwait(3, [], 1024, 75, NULL, 8) = 0
9 newfstatat(AT_FDCWD, "/mark-between", 0x7ffd, 0) = -1 ENOENT (No such file or directory)
7 write(9, "\x81\x05hello", 7) = 7
"""


def test_a_stretch_has_the_calls_of_the_server_and_no_others() -> None:
    """Neither those of the thread that sets the marks, nor waits for timers, nor what was tried too early.

    Nor those on files, where two threads' calls lie across each other.
    """
    stretches = counted(TRACE)
    assert +stretches["fan-out"] == {"epoll_pwait": 2, "read": 1, "write": 1}
    assert figures_of(stretches, {"fan-out": 2}) == {"fan-out: calls": 2.0, "fan-out: writes": 0.5}


def test_a_figure_may_grow_by_its_tolerance_and_no_more() -> None:
    """By a share of it, or by the least that counts, whichever is more."""
    was = {"small": 1.0, "large": 100.0, "more": 100.0, "less": 100.0}
    verdicts = judge(PART, was, {"small": 1.5, "large": 102.0, "more": 102.1, "less": 97.0})
    assert [verdict.failed for verdict in verdicts] == [False, False, True, False]
    assert [verdict.less for verdict in verdicts] == [False, False, False, True]
    assert str(verdicts[2]).split() == ["more", "100", "102.1", "MORE"]


def test_what_one_tree_cannot_count_is_named() -> None:
    """In the revision that is no failure; in this tree it is one."""
    new, gone = judge(PART, {"gone": 1.0}, {"new": 1.0}), judge(PART, {"gone": 1.0}, {})
    assert {verdict.name: verdict.failed for verdict in new} == {"gone": True, "new": False}
    assert str(gone[0]).endswith("cannot be counted in this tree")
    assert str(new[-1]).endswith("cannot be counted in the revision")


def test_what_has_grown_is_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was more by chance is not more twice."""
    counts = iter([({"a": 1.0, "b": 1.0}, {"a": 9.0, "b": 1.0}), ({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 9.0})])
    monkeypatch.setattr("benchmarks.gates.exact.__main__.count_both", lambda _part, _both: next(counts))
    assert [verdict.failed for verdict in look([PART], Trees)] == [False, False]  # type: ignore[arg-type]


def test_a_report_names_what_is_more(capsys: pytest.CaptureFixture[str]) -> None:
    """And the exit status says the same."""
    assert report(judge(PART, {"a": 1.0}, {"a": 2.0}), "main") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "FAILED: 1 of 1 are more than main has: a."
    assert report(judge(PART, {"a": 1.0}, {"a": 1.0}), "main") == 0


def test_without_strace_the_calls_are_skipped_but_not_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that looks at nothing must not pass unseen."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CI", raising=False)
    assert [part.name for part in countable(list(PARTS))] == ["memory", "latency", "wakeups"]
    monkeypatch.setenv("CI", "true")
    with pytest.raises(SkippedError, match="BENCH_MAY_SKIP=1 lets that pass"):
        countable(list(PARTS))


def test_the_clock_moves_when_nothing_else_does() -> None:
    """An hour of timers takes no time, and each wakeup is counted."""
    clock = Clock()
    loop = virtual.VirtualLoop(clock)
    begin = clock.now
    rang: list[int] = []
    for number in range(3):
        loop.call_later(1200 * (number + 1), rang.append, number)
    loop.turn()
    assert (rang, clock.now, loop.waits) == ([], begin, 0)
    loop.call_later(3600, loop.stop)
    loop.run_forever()
    assert (rang, clock.now - begin, loop.waits) == ([0, 1, 2], 3600, 3)
    loop.close()


def test_a_loop_that_waits_for_ever_says_so() -> None:
    """Rather than to hang."""
    loop = virtual.VirtualLoop(Clock())
    with pytest.raises(virtual.NothingToComeError):
        loop.run_forever()
    loop.close()


def test_turns_alone_do_not_wait_for_a_timer() -> None:
    """The clock stands still for a hundred of them; then it moves, so that who waits for a timer sees it."""
    clock = Clock()
    rang: list[int] = []
    loop = virtual.VirtualLoop(clock)
    begin = clock.now
    loop.call_later(0.001, rang.append, 1)
    while not rang:
        loop.turn()
    assert (loop.turns, round(clock.now - begin, 6)) == (virtual.PATIENCE + 2, 0.001)
    loop.close()


def test_timers_of_an_observed_server_never_come_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for those that are due at once, which are turns."""
    monkeypatch.setattr(uvloop.Loop, "call_later", observed._call_later)
    loop = uvloop.new_event_loop()
    rang: list[int] = []
    later = loop.call_later(0.001, rang.append, 1)
    loop.call_later(0, rang.append, 2)
    loop.call_later(0, loop.stop)
    loop.run_forever()
    assert rang == [2]
    assert later.when() - loop.time() > 1e8
    loop.close()


def test_a_connection_that_is_closed_before_its_answer_ends_the_count() -> None:
    """Rather than to be read from for ever."""
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(b"HTTP/1.1 5")
        theirs.close()
        with pytest.raises(RuntimeError, match="has closed a connection"):
            peers._read_head(ours, "101")
