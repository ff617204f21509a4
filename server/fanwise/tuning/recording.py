"""A scene as a recording, which `fanwise bench` plays against a real server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..tools.bench.load.recording import Message, Range, RecordedReader, Recording
from .scene import Reader, Scene


def recording_of(scene: Scene) -> Recording:
    """Returns a scene as plain data, with times from its beginning on.

    A reader of several channels becomes one for each, and its bandwidth is divided by the bytes that they carry.
    """
    used = [sent.channel for sent in scene.publications] + [name for one in scene.readers for name in one.channels]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(used))}
    carried: Counter[str] = Counter()
    messages: list[list[Message]] = [[] for _ in numbers]
    for sent in scene.publications:
        carried[sent.channel] += sent.size
        messages[numbers[sent.channel]].append(Message(sent.time - scene.begins, sent.size, sent.key))
    readers = [one for reader in scene.readers for one in _readers(reader, scene.begins, numbers, carried)]
    return Recording(
        channels=tuple(map(tuple, messages)),
        readers=tuple(readers),
        healthy=max(scene.fast_clients, len(numbers)),
        seconds=scene.seconds,
    )


def _readers(reader: Reader, zero: float, numbers: dict[str, int], carried: Counter[str]) -> Iterator[RecordedReader]:
    total = sum(carried[name] for name in reader.channels)
    for name in reader.channels:
        share = carried[name] / total if total else 1.0
        yield RecordedReader(
            channel=numbers[name],
            pieces=tuple((start - zero, rate * share) for start, rate in reader.supply.pieces),
            begins=max(reader.begins - zero, 0.0),
            ends=None if reader.ends is None else reader.ends - zero,
            away_seconds=None if reader.away_seconds is None else Range(*reader.away_seconds),
        )
