from __future__ import annotations

import pytest

from fanwise.core.programs import IDLE_SECONDS, program_of
from fanwise.routes.demo.run import CHANNEL
from fanwise.tools.doctor.probe import Probe

from .test_hub import make_hub, publish


@pytest.mark.parametrize(
    ("channel", "program"),
    [
        (CHANNEL, "demo"),
        (f"{CHANNEL}.2", "demo"),
        ("fanwise.doctor.6114b0cd838424f6", "doctor"),
        ("fanwise.demography", None),
        ("fanwise.doctor", None),
        ("fanwise", None),
        ("lobby", None),
    ],
)
def test_whose_a_channel_is(channel: str, program: str | None) -> None:
    """By the names that our programs use."""
    assert program_of(channel) == program


def test_the_doctor_asks_on_channels_of_its_own() -> None:
    """Each run on another one."""
    assert program_of(Probe.private_channel()) == "doctor"


def test_a_programs_channel_leaves_soon_after_its_last_client() -> None:
    """With all that was published to it; while there is a client it stays, and so do others' channels."""
    hub = make_hub(history_seconds=300.0)
    queues = {name: hub.subscribe(name, time=0.0) for name in (CHANNEL, "lobby")}
    for name in queues:
        publish(hub, hub.channel(name, time=0.0), time=1.0)
    hub.retention.expire(1000.0)
    assert len(hub) == 2
    for name, start in queues.items():
        hub.unsubscribe(hub.channel(name, time=0.0), start.queue, time=1000.0)
    hub.retention.expire(1000.0 + IDLE_SECONDS - 1)
    assert len(hub) == 2
    hub.retention.expire(1000.0 + IDLE_SECONDS)
    assert [channel.name for channel in hub] == ["lobby"]


def test_publications_of_a_programs_channel_stay_as_long_as_others() -> None:
    """Its clients may be away and resume, as long as one is there."""
    hub = make_hub(history_seconds=300.0, history_messages=10)
    channel = hub.channel(CHANNEL, time=0.0)
    hub.subscribe(CHANNEL, time=0.0)
    for number in range(3):
        publish(hub, channel, time=float(number))
    hub.retention.trim(100.0)
    hub.retention.expire(200.0)
    assert len(channel.log) == 3
    assert channel.namespace.pattern is None
    assert channel.namespace.shelf.history_seconds == 300.0


def test_a_short_history_is_short_for_them_too() -> None:
    """Where channels stay for less, so do these."""
    hub = make_hub(history_seconds=2.0)
    hub.channel(CHANNEL, time=0.0)
    hub.retention.expire(2.0)
    assert len(hub) == 0
