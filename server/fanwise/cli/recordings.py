"""Traces in files, as recordings that `fanwise bench --replay` plays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import TraceError
from ..tools.bench.errors import OptionError

if TYPE_CHECKING:
    from ..tools.bench.load.recording import Recording

_CHUNK_BYTES = 65_536


def read_recording(option: str, path: str) -> Recording:
    """Returns the recording of a trace in a file.

    Raises:
        OptionError: The file cannot be read, is no trace, or has no publications.
    """
    from ..core.trace import Header  # noqa: PLC0415 - only --replay needs the core and the tuning
    from ..core.trace_reader import read_trace  # noqa: PLC0415
    from ..tuning.recording import recording_of  # noqa: PLC0415
    from ..tuning.traced import read_scene  # noqa: PLC0415

    try:
        header, *records = read_trace(_chunks(path))
    except OSError as error:
        raise OptionError(option, path, f"a file that can be read: {error.strerror}") from error
    except TraceError as error:
        raise OptionError(option, path, f"a file of `fanwise trace`: {error}") from error
    assert isinstance(header, Header)
    scene = read_scene(header, [record for record in records if not isinstance(record, Header)]).scene
    if not scene.publications:
        raise OptionError(option, path, "a trace in which something was published")
    return recording_of(scene)


def _chunks(path: str) -> Iterator[bytes]:
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
