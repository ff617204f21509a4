from __future__ import annotations

from pathlib import Path

import pytest

from fanwise.cli.recordings import read_recording
from fanwise.core.trace import Record
from fanwise.tools.bench.errors import OptionError
from fanwise.tools.bench.load.recording import Message

from ..support.traces import STORY, encoded
from ..tools.bench.test_session import options


def write(path: Path, *records: Record) -> str:
    file = path / "x.trace"
    file.write_bytes(encoded(*records))
    return str(file)


def test_a_trace_becomes_a_plan(tmp_path: Path) -> None:
    """Its messages, clients and length, in the dialect that can resume."""
    path = write(tmp_path, *STORY)
    plan = options(replay=path).plan
    made = plan.recording
    assert made is not None
    assert made == read_recording("--replay", path)
    assert [[message[:2] for message in channel] for channel in made.channels] == [
        [(0.25, 1000), (0.25, 1000), (0.250001, 200_000)]
    ]
    assert [message.key is None for message in made.channels[0]] == [True, False, True]
    assert isinstance(made.channels[0][0], Message)
    assert (plan.dialect, plan.duration_seconds, plan.channels) == ("fanwise.v1", 2.0, 1)
    assert plan.clients == made.healthy + len(made.readers)
    assert options(replay=path, dialect="plain", duration="500ms").plan.duration_seconds == 0.5


def test_what_is_no_trace_is_refused(tmp_path: Path) -> None:
    """With what is wrong with it."""
    (tmp_path / "bad").write_bytes(b"hello\n")
    for path, says in (
        (str(tmp_path / "none"), "a file that can be read: No such file"),
        (str(tmp_path), "a file that can be read: Is a directory"),
        (str(tmp_path / "bad"), "a file of `fanwise trace`: "),
        (write(tmp_path, *STORY[:3]), "a trace in which something was published"),
    ):
        with pytest.raises(OptionError, match="--replay") as caught:
            read_recording("--replay", path)
        assert says in str(caught.value)
