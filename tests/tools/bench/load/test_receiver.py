from __future__ import annotations

import random

import pytest

from fanwise.tools.bench.load.receiver import Control, Tally
from fanwise.tools.bench.load.stream import Progress, Stream
from fanwise.tools.load.wire import CONTINUATION, PING, TEXT, ProtocolViolation

from ....support.bench import PAYLOADS, frame, receiver, server_frame


def counters(tally: Tally) -> dict[str, int]:
    names = ("deliveries", "lost", "duplicates", "reordered", "corrupt")
    return {name: getattr(tally, name) for name in names if getattr(tally, name)}


@pytest.mark.parametrize(
    ("sequences", "seen"),
    [
        ([1, 2, 3, 4], {"deliveries": 4}),
        ([5, 6, 7], {"deliveries": 3}),  # who joins in the middle misses nothing
        ([1, 2, 5, 6], {"deliveries": 4, "lost": 2}),
        ([1, 2, 2, 3], {"deliveries": 3, "duplicates": 1}),
        ([1, 3, 2, 4], {"deliveries": 4, "reordered": 1}),
        ([1, 5, 3, 3, 6], {"deliveries": 4, "lost": 2, "reordered": 1, "duplicates": 1}),
        ([3, 4, 1], {"deliveries": 2, "duplicates": 1}),  # older than what it began with: it came twice, or too late
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 7, 80, 10_000])
def test_order_loss_and_duplicates(sequences: list[int], seen: dict[str, int], piece_bytes: int) -> None:
    """Are told apart, however the bytes are cut."""
    client, data = receiver(), b"".join(frame(sequence) for sequence in sequences)
    for at in range(0, len(data), piece_bytes):
        client.feed(data[at : at + piece_bytes], 9)
    assert counters(client.lane.tally) == seen


def test_a_corrupt_message_counts_once() -> None:
    """It is corrupt, and not lost as well."""
    client = receiver()
    bad = bytearray(frame(2))
    bad[-1] ^= 1
    client.feed(frame(1) + bad + frame(3), 9)
    assert counters(client.lane.tally) == {"deliveries": 2, "corrupt": 1}
    assert client.expected == 4


def test_what_another_has_checked_puts_a_client_on_the_stream() -> None:
    """Also in the middle of a frame; what follows it there needs no parsing."""
    stream = Stream(PAYLOADS)
    first, second = receiver(stream), receiver(stream)
    first.feed(frame(1) + frame(2) + frame(3), 9)
    second.feed(frame(1) + frame(2)[:30], 9)
    assert first.position == stream.end
    assert second.position == len(frame(1)) + 30
    assert second.expected == 2


def test_other_frames_are_handed_out() -> None:
    """A ping between messages, also to a client on the stream, disturbs nothing."""
    stream = Stream(PAYLOADS)
    first, second = receiver(stream), receiver(stream)
    first.feed(frame(1) + frame(2), 9)
    second.feed(frame(1), 9)
    ping = server_frame(b"hi", opcode=PING)
    assert second.feed(ping + frame(2), 9) == [Control(PING, b"hi")]
    assert second.feed(server_frame(b"welcome"), 9) == [Control(TEXT, b"welcome")]
    assert counters(second.lane.tally) == {"deliveries": 2}
    assert second.position == stream.end


def test_fragments_are_one_message() -> None:
    """RFC 6455 section 5.4, with a ping in between."""
    client, payload = receiver(), b"Message: " + PAYLOADS.build(1, 5)
    controls = client.feed(
        server_frame(payload[:20], final=False)
        + server_frame(b"", opcode=PING)
        + server_frame(payload[20:], opcode=CONTINUATION),
        9,
    )
    assert controls == [Control(PING, b"")]
    assert counters(client.lane.tally) == {"deliveries": 1}


def test_warm_up_does_not_count() -> None:
    """Neither parsed nor on the stream."""
    stream = Stream(PAYLOADS)
    client = receiver(stream, measured_from=3)
    client.feed(frame(1) + frame(2) + frame(3), 25)
    assert counters(client.lane.tally) == {"deliveries": 1}
    assert client.lane.tally.latency.max_ns == 20
    other = receiver(stream, measured_from=3)
    other.lane.account(0, stream.end, [25, 30])
    assert other.lane.tally.deliveries == 2
    assert other.lane.tally.latency.max_ns == 25


def test_progress_follows_each_client() -> None:
    """From its first message to its end."""
    stream, progress = Stream(PAYLOADS), Progress()
    one, other = receiver(stream, progress=progress), receiver(stream, progress=progress)
    one.feed(frame(1) + frame(2), 9)
    other.feed(frame(1), 9)
    assert progress.lowest == 2
    other.close()
    assert progress.lowest == 3
    one.close()
    assert not progress.lowest
    assert not stream.members


def test_a_violation_is_told() -> None:
    """And not taken for a message."""
    with pytest.raises(ProtocolViolation):
        receiver().feed(b"\xf1\x00", 9)


def test_any_cutting_and_any_fault_agrees_with_a_model() -> None:
    """Clients that share a stream count what a list of what they got says, each for itself."""
    rng = random.Random(7)
    for _ in range(200):
        stream = Stream(PAYLOADS)
        clients = [(receiver(stream), [i for i in range(1, 40) if rng.random() > 0.1 * n]) for n in range(3)]
        feeds = [(client, b"".join(frame(i) for i in sequences)) for client, sequences in clients]
        while any(data for _, data in feeds):
            index = rng.randrange(len(feeds))
            client, data = feeds[index]
            cut = rng.randrange(1, 400)
            client.feed(data[:cut], 9)
            feeds[index] = (client, data[cut:])
        for client, sequences in clients:
            holes = sequences[-1] - sequences[0] + 1 - len(sequences)
            assert counters(client.lane.tally) == {"deliveries": len(sequences), **({"lost": holes} if holes else {})}
