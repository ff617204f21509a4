from __future__ import annotations

import pytest
from click.testing import CliRunner

from fanwise.cli.bench import bench
from fanwise.tools.bench.errors import OptionError
from fanwise.tools.bench.options import Options

from ..tools.bench.test_session import options


def refused(*args: str) -> str:
    done = CliRunner().invoke(bench, args)
    assert done.exit_code == 2, done.output
    return done.output


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--rate", "10", "--saturate"], "--rate is 10.0: it takes no --saturate beside it"),
        (["--find-capacity", "p99=1s", "--saturate"], "no --saturate beside it"),
        (["--find-capacity", "p99=1s", "--against", "queue"], "no --against beside it"),
        (["--url", "ws://h/", "--against", "queue"], "no --url beside it"),
        (["--server-pid", "1"], "a --url beside it"),
        (["--find-capacity", "p95=1s"], "one of p50, p90, p99, p99.9, max"),
        (["--replay", "x", "--rate", "3"], "--replay is 'x': it takes no --rate beside it"),
        (["--replay", "x", "--clients", "3"], "--replay is 'x': it takes no --clients beside it"),
        (["--replay", "x", "--pausing", "3%"], "--replay is 'x': it takes no --pausing beside it"),
        (["--replay", "/nowhere"], "--replay is '/nowhere': it takes a file that can be read"),
        (["--burst", "5", "--saturate"], "--burst is 5: it takes no --saturate beside it"),
        (["--pausing", "5 %"], "--pausing is '5 %': it takes a share like 5%"),
        (["--pause", "20s..3s"], "--pause is '20s..3s': it takes a time or two, above 0, the smaller first"),
        (["--bandwidth", "20KB"], "--bandwidth is '20KB': it takes bytes a second"),
        (["--resuming", "30%"], "--resuming is '30%': it takes a share like 5% or a number up to the 0 slow and"),
        (["--slow", "200%"], "--slow is '200%': it takes a share like 5%"),
        (["--duration", "soon"], "--duration is 'soon'"),
        (["--size", "8"], "--size is 8: it takes 42"),
        (["--url", "http://h/"], "begins with ws://"),
        (["--dialect", "latin"], "'plain', 'fanwise.v1'"),
        (["--clients", "many"], "'many' is not a valid integer"),
    ],
)
def test_what_cannot_be_used_is_named(args: list[str], says: str) -> None:
    """With what is allowed, and status 2."""
    assert says in refused(*args)


def test_defaults() -> None:
    """A thousand clients, saturated, five seconds, on pinned CPUs with a server of our own."""
    made = options()
    assert (made.plan.clients, made.plan.rate, made.plan.duration_seconds, made.plan.url) == (1000, None, 5, "")
    assert made.pin
    assert not options(url="ws://h/").pin
    assert options(find_capacity="p99=100ms").plan.duration_seconds == 2
    assert isinstance(made, Options)


def test_a_share_is_of_the_clients() -> None:
    """However many they are."""
    given = {"slow": "5%", "stalled": "1%", "flapping": "7", "pausing": "10%", "resuming": "30%"}
    made = options(clients=200, dialect="fanwise.v1", **given).plan
    assert (made.slow, made.stalled, made.flapping, made.pausing, made.resuming) == (10, 2, 7, 20, 9)
    with pytest.raises(OptionError, match="somebody has to be healthy"):
        options(clients=10, slow="100%")
