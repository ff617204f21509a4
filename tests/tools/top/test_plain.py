from __future__ import annotations

import io

from fanwise.tools.top.picture import paint
from fanwise.tools.top.plain import Lines, describe

from ...support.documents import CLIENT, document


def test_columns_stand_below_each_other() -> None:
    """Texts to the left, numbers to the right, without spaces at the end."""
    clients = [{**CLIENT, "address": f"127.0.0.1:{port}", "lag": lag} for port, lag in ((36_836, 1_025), (80, 5))]
    told = describe(paint(document(clients=clients), None))
    start = told.index("Furthest behind")
    assert told[start + 1 : start + 4] == [
        "client            address          channels    lag    bytes  buffered  behind  RTT",
        "98049d8164be3b02  127.0.0.1:36836  news +1   1,025  12.3 KB     141 B  1.25 s    -",
        "98049d8164be3b02  127.0.0.1:80     news +1       5  12.3 KB     141 B  1.25 s    -",
    ]
    assert all(line == line.rstrip() for line in told)


def test_long_tables_are_cut_and_empty_ones_left_out() -> None:
    """It says how many rows are not shown."""
    told = describe(paint(document(clients=[CLIENT] * 25, channels=[], closed_clients=[]), None))
    assert told.count("and 5 more") == 1
    assert "Busiest channels" not in told


def test_one_picture_below_the_other() -> None:
    """With an empty line in between; trouble is told once, until it is over."""
    stream, picture = io.StringIO(), paint(document(), None)
    with Lines(stream) as lines:
        lines.show(picture, "")
        lines.show(picture, "no answer")
        lines.show(picture, "no answer")
        lines.show(picture, "")
        lines.show(picture, "no answer")
        lines.show(None, "")
    head = picture.head + "\n"
    told = stream.getvalue()
    assert told.startswith(head)
    assert told.count(head) == 2
    assert "\n\n" + head in told
    assert told.count("fanwise top: no answer\n") == 2
