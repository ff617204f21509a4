"""`tuning.recording`: a scene becomes what `fanwise bench` plays."""

from __future__ import annotations

from fanwise.tools.bench.load.recording import Message, Range, RecordedReader
from fanwise.tuning.recording import recording_of
from fanwise.tuning.scene import Reader, Scene, Sent, Supply


def test_a_scene_is_played_from_its_beginning_on() -> None:
    """With each channel's messages, and each reader once for each of its channels."""
    supply = Supply([(2.0, 0.0), (3.0, 900.0)])
    scene = Scene(
        publications=[Sent(2.0, "a", 100, "k"), Sent(2.5, "b", 200), Sent(4.0, "a", 0)],
        readers=[
            Reader(name="r", channels=("b", "a"), supply=supply, room_bytes=1.0, begins=2.0, away_seconds=(1.0, 2.0)),
            Reader(name="s", channels=("c",), supply=supply, room_bytes=1.0, begins=3.0, ends=5.0),
        ],
        fast_clients=2,
        ends=6.0,
    )
    made = recording_of(scene)
    assert made.channels == ((Message(0.0, 100, "k"), Message(2.0, 0)), (Message(0.5, 200),), ())
    assert made.readers == (
        RecordedReader(1, ((0.0, 0.0), (1.0, 600.0)), away_seconds=Range(1.0, 2.0)),
        RecordedReader(0, ((0.0, 0.0), (1.0, 300.0)), away_seconds=Range(1.0, 2.0)),
        RecordedReader(2, ((0.0, 0.0), (1.0, 900.0)), begins=1.0, ends=3.0),
    )
    assert (made.healthy, made.seconds) == (3, 4.0)
