from __future__ import annotations

import pytest

from fanwise.tools.rates import between
from fanwise.tools.top.picture import Picture, paint

from ...support.documents import CHANNEL, CLIENT, CLOSED, WORKER, document, histogram, of_workers

LATER = document(
    uptime_seconds=14.5,
    totals={"connections": 210, "publications": 1_600, "deliveries": 65_222, "delivered_bytes": 8_000_000},
    closed={"normal": 9, "slow": 3},
    dropped={"gap_slow": 5, "closed_slow": 16, "closed_lost": 4},
    histograms={
        "ready_age_seconds": histogram(0, 100, 0, 0),
        "catching_up_age_seconds": histogram(0, 0, 0, 0),
        "loop_lag_seconds": histogram(30, 0, 0, 0),
    },
)


def values(picture: Picture) -> dict[str, str]:
    return {tile.name: tile.value for tile in picture.tiles}


HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202e\r\nname"


def test_the_tiles_are_those_of_the_page() -> None:
    """Rates of the time between two documents, and what there is now."""
    tiles = values(paint(LATER, between(document(), LATER)))
    assert tiles == {
        "clients dropped": "3, 1/s",
        "clients": "205, 3 behind",
        "publications/s": "300",
        "deliveries/s": "12,111",
        "p99, ready clients": "9.91 ms",
        "p99, catching up": "-",
        "loop lag": "0.4 ms",
        "memory": "69.3 MB",
        "retained": "1.26 MB",
    }


def test_without_a_document_before_it_there_are_no_rates() -> None:
    """They are left open, not 0."""
    tiles = values(paint(document(), None))
    assert [tiles[name] for name in ("publications/s", "deliveries/s", "p99, ready clients")] == ["-"] * 3


def test_the_tables() -> None:
    """A row for each client, channel and closed connection, in the server's order."""
    clients, channels, _, closed = paint(document(), None).tables
    assert clients.rows == [("98049d8164be3b02", "127.0.0.1:36836", "news +1", "90", "12.3 KB", "141 B", "1.25 s", "-")]
    assert channels.rows == [("news", "41", "59.8", "281", "38.5 KB", "12,345")]
    assert closed.rows == [("89e087d5e3af61f3", "127.0.0.1:42248", "slow", "4008", "1,025", "1 min")]
    for table in paint(document(), None).tables:
        assert {len(row) for row in table.rows} == {len(table.columns)}


def test_what_is_not_known_is_left_open() -> None:
    """A client on no channel, a channel that was seen once, a closing that the clocks put into the future."""
    picture = paint(
        document(
            clients=[{**CLIENT, "channels": [], "subscriptions": 0, "behind_seconds": None}],
            channels=[{**CHANNEL, "publications_per_second": None}],
            closed_clients=[{**CLOSED, "at": 1_763_800_001.0}],
        ),
        None,
    )
    clients, channels, _, closed = (table.rows[0] for table in picture.tables)
    assert (clients[2], clients[6], channels[2], closed[5]) == ("-", "-", "-", "0 ms")


def test_drops_by_cause() -> None:
    """How often, and what clients missed; a client that leaves, or whose connection is lost, is no drop."""
    rows = paint(LATER, between(document(), LATER)).tables[2].rows
    assert rows == [("closed: slow", "3", "16", "3"), ("gap: slow", "1", "5", "0")]


def test_the_order_of_the_clients() -> None:
    """The largest first; what is unknown comes last."""
    times = {"first": None, "second": 0.5, "third": 2.5}
    clients = [{**CLIENT, "id": name, "behind_seconds": seconds} for name, seconds in times.items()]
    rows = paint(document(clients=clients), None, sort="behind").tables[0].rows
    assert [row[0] for row in rows] == ["third", "second", "first"]


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"ready": True, "draining": False}, "ready"),
        ({"ready": False, "draining": True}, "draining"),
        ({"ready": False, "draining": False}, "not ready"),
    ],
)
def test_the_head(state: dict[str, bool], told: str) -> None:
    """Which process it is, and whether it takes clients in."""
    head = paint(document(state={**state, "loop_lag_seconds": 0.0}), None).head
    assert head == f"Fanwise 0.1.0 on Python 3.11.7 (uvloop), process 42, up 12.5 s, {told}"


def test_what_strangers_chose_cannot_play_with_the_terminal() -> None:
    """Every text of a hostile document comes out printable, and short."""
    picture = paint(
        document(
            server={**document()["server"], "version": HOSTILE, "python": HOSTILE, "loop": HOSTILE},
            clients=[{**CLIENT, "id": HOSTILE, "address": HOSTILE, "channels": [HOSTILE * 9]}],
            channels=[{**CHANNEL, "name": HOSTILE * 9}],
            closed_clients=[{**CLOSED, "id": HOSTILE, "address": HOSTILE, "reason": HOSTILE}],
        ),
        None,
    )
    cells = [cell for table in picture.tables for row in table.rows for cell in row]
    assert all(text.isprintable() for text in (picture.head, *cells))
    assert max(map(len, cells)) <= 40


def test_several_workers_are_one_picture() -> None:
    """A row for each, with its rates, and a column for the worker in the other tables."""
    other = {**WORKER, "worker": "0000000b", "host": HOSTILE, "pid": 43, "ready": False}
    before = of_workers(WORKER, other)
    later = {**WORKER, "uptime_seconds": 14.5, "publications": 600, "deliveries": 30_500, "cpu_seconds": 1.1}
    after = of_workers(later, other, silent=("0000000b",), uptime_seconds=14.5)
    picture = paint(after, between(before, after))
    assert picture.head == "Fanwise 0.1.0 on Python 3.11.7 (uvloop), 2 workers (1 silent), up 14.5 s, ready"
    workers, clients, channels, _, closed = picture.tables
    now = ("105", "3", "50", "5,000", "25%", "0.4 ms", "34.6 MB", "14.5 s")
    assert workers.rows[0] == ("3f9a01c4", "front-1", "42", "ready", *now)
    assert workers.rows[1][2:9] == ("43", "silent", "105", "3", "-", "-", "-")
    assert clients.rows[0][:3] == ("98049d8164be3b02", "3f9a01c4", "127.0.0.1:36836")
    assert (channels.rows[0][:3], closed.rows[0][1]) == (("news", "2", "41"), "0000000b")
    assert all(cell.isprintable() for table in picture.tables for row in table.rows for cell in row)
    for table in picture.tables:
        assert {len(row) for row in table.rows} == {len(table.columns)}
