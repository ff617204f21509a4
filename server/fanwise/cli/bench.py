"""`fanwise bench`: the options of the load generator. The extra `bench` is imported when the command runs."""

from __future__ import annotations

import sys
from typing import Any

import click

from ..tools.bench.errors import BenchFailedError, OptionError
from ..tools.bench.load.dialects import DIALECTS
from ..tools.bench.load.plan import Plan
from ..tools.bench.load.recording import Recording
from ..tools.bench.options import (
    Options,
    check_file,
    check_plan,
    check_url,
    parse_pace_range,
    parse_seconds,
    parse_seconds_range,
    parse_share,
)
from ..tools.bench.run.capacity import Bound
from ..tools.local_server import NotStartedError
from .interrupts import INTERRUPTED, interrupt_on_signals
from .recordings import read_recording

_BASELINES = ("tutorial", "queue")
_NOT_GIVEN = (None, False, "0")  # 0 is False
_SECONDS, _CAPACITY_SECONDS = "5s", "2s"  # default durations: of a run, and of each step of --find-capacity
_CLIENTS, _CHANNELS, _SIZE_BYTES = 1000, 1, 128  # defaults, but for those of a trace
_CLASHES = (
    *(
        ("replay", other)
        for other in ("rate", "saturate", "burst", "keys", "clients", "channels", "size", "find_capacity")
    ),
    *(("replay", other) for other in ("slow", "stalled", "flapping", "pausing", "resuming")),
    ("rate", "saturate"),
    ("burst", "saturate"),
    ("find_capacity", "saturate"),
    ("find_capacity", "against"),
    ("against", "url"),
    ("server_pid", "against"),
)


def clash(given: dict[str, Any], *pairs: tuple[str, str]) -> None:
    """Refuses two options that exclude each other.

    Raises:
        OptionError: Both of a pair are given.
    """
    for one, other in pairs:
        if given[one] not in _NOT_GIVEN and given[other] not in _NOT_GIVEN:
            first, second = (f"--{name.replace('_', '-')}" for name in (one, other))
            raise OptionError(first, given[one], f"no {second} beside it: one of the two")


def read_options(given: dict[str, Any]) -> Options:
    """The options as the user typed them, checked.

    Raises:
        OptionError: An option cannot be used, or two exclude each other.
    """
    clash(given, *_CLASHES)
    if given["server_pid"] is not None and given["url"] is None:
        raise OptionError(
            "--server-pid", given["server_pid"], "a --url beside it: of its own server it knows the process"
        )
    return Options(
        plan=check_plan(_read_plan(given)),
        capacity=None if given["find_capacity"] is None else Bound.parse(given["find_capacity"]),
        against=given["against"],
        json_file=check_file("--json", given["json_file"]),
        html_file=check_file("--html", given["html_file"]),
        pin=given["pin"] if given["pin"] is not None else given["url"] is None,
    )


def _read_plan(given: dict[str, Any]) -> Plan:
    recording = None if given["replay"] is None else read_recording("--replay", given["replay"])
    given = {**given, **_missing(given, recording)}
    clients, duration = given["clients"], given["duration"]
    slow, pausing = (parse_share(f"--{name}", given[name], clients) for name in ("slow", "pausing"))
    return Plan(
        url="" if given["url"] is None else check_url(given["url"], given["channels"]),
        dialect=given["dialect"],
        channels=given["channels"],
        clients=clients,
        slow=slow,
        stalled=parse_share("--stalled", given["stalled"], clients),
        flapping=parse_share("--flapping", given["flapping"], clients),
        pausing=pausing,
        resuming=parse_share("--resuming", given["resuming"], slow + pausing, of="slow and pausing clients"),
        size_bytes=given["size"],
        keys=given["keys"],
        rate=given["rate"],
        burst_messages=given["burst"],
        recording=recording,
        every_seconds=parse_seconds("--every", given["every"]),
        window_messages=given["window"],
        duration_seconds=parse_seconds("--duration", duration),
        slow_bytes_per_second=parse_pace_range("--bandwidth", given["bandwidth"]),
        pause_seconds=parse_seconds_range("--pause", given["pause"]),
        awake_seconds=parse_seconds_range("--awake", given["awake"]),
        away_seconds=parse_seconds_range("--away", given["away"]),
        receive_buffer_bytes=given["receive_buffer"],
        seed=given["seed"],
        workers=given["workers"],
        server_pid=given["server_pid"],
        headers=given["header"],
    )


def _missing(given: dict[str, Any], recording: Recording | None) -> dict[str, Any]:
    """Returns the defaults of what was not given: those of a trace, or those of every other load."""
    duration = _SECONDS if given["find_capacity"] is None else _CAPACITY_SECONDS
    defaults = {"clients": _CLIENTS, "channels": _CHANNELS, "size": _SIZE_BYTES, "dialect": "plain"}
    defaults["duration"] = duration
    if recording is not None:
        clients = recording.healthy + len(recording.readers)
        defaults |= {"clients": clients, "channels": len(recording.channels), "dialect": "fanwise.v1"}
        defaults["duration"] = f"{recording.seconds:f}"
    return {name: default for name, default in defaults.items() if given[name] is None}


@click.command()
@click.option(
    "--url",
    metavar="URL",
    help="A server that runs already; {channel} stands for the channel's name. By default one of our own is started.",
)
@click.option("--server-pid", type=int, metavar="PID", help="Its process, for CPU and memory.")
@click.option(
    "--dialect", type=click.Choice(list(DIALECTS)), help="[default: plain; with --replay fanwise.v1, which can resume]"
)
@click.option("--clients", type=int, metavar="N", help="[default: 1000; with --replay those of the trace]")
@click.option("--channels", type=int, metavar="N", help="Client i listens to channel i modulo N.  [default: 1]")
@click.option("--rate", type=float, metavar="N", help="Messages a second over all channels, at fixed times.")
@click.option("--saturate", is_flag=True, help="As many as keep the window full. This is the default.")
@click.option(
    "--burst", type=int, default=0, metavar="N", help="Messages at once, over all channels, beside those of --rate."
)
@click.option("--every", default="2s", show_default=True, metavar="TIME", help="From one burst to the next.")
@click.option(
    "--window", type=int, default=64, show_default=True, metavar="N", help="Saturated: messages in flight, per channel."
)
@click.option("--size", type=int, metavar="BYTES", help="Of each message.  [default: 128]")
@click.option(
    "--replay",
    metavar="TRACE",
    help="A file of `fanwise trace`: its messages at their times, and its clients at their pace.",
)
@click.option(
    "--keys", type=int, default=0, metavar="N", help="Message i has key i modulo N; fanwise.v1 only.  [default: none]"
)
@click.option("--slow", default="0", show_default=True, metavar="5%|N", help="Clients that read at --bandwidth.")
@click.option(
    "--bandwidth",
    "--slow-bytes",
    "bandwidth",
    default="4096",
    show_default=True,
    metavar="20k..2M",
    help="Bytes a second of a slow client, or a range of them, evenly spread by factor.",
)
@click.option(
    "--pausing", default="0", show_default=True, metavar="5%|N", help="Clients that stop reading, again and again."
)
@click.option("--pause", default="3s..20s", show_default=True, metavar="TIME", help="Each time for so long.")
@click.option("--awake", default="2s..8s", show_default=True, metavar="TIME", help="And so long until the next time.")
@click.option(
    "--resuming",
    default="0",
    show_default=True,
    metavar="30%|N",
    help="Slow and pausing clients that come back after a drop, and resume at their position; fanwise.v1 only.",
)
@click.option("--away", default="500ms..1500ms", show_default=True, metavar="TIME", help="After so long.")
@click.option("--stalled", default="0", show_default=True, metavar="1%|N", help="Clients that read nothing.")
@click.option("--flapping", default="0", show_default=True, metavar="1%|N", help="Clients that go and come back.")
@click.option(
    "--receive-buffer",
    type=int,
    metavar="BYTES",
    help="In the kernel of clients that read late.  [default: 8192 of slow and stalled ones, 65536 of others]",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, metavar="N", help="Equal seeds: equal pauses and paces."
)
@click.option(
    "--duration",
    metavar="TIME",
    help="Of the measurement: 5, 500ms, 2m.  [default: 5s; 2s for each step of --find-capacity]",
)
@click.option(
    "--workers", type=int, default=1, show_default=True, metavar="N", help="Processes that carry the clients."
)
@click.option(
    "--pin/--no-pin",
    default=None,
    help="Server on the first CPU, generator on the others.  [default: with a server of our own]",
)
@click.option("--header", multiple=True, metavar="LINE", help="Of each handshake: 'Authorization: Bearer KEY'.")
@click.option(
    "--find-capacity", metavar="p99=100ms", help="Raise the rate until the bound breaks, and report the knee."
)
@click.option(
    "--against",
    type=click.Choice(_BASELINES),
    help="Then the same load on the tutorial's loop, or on a queue and task for each client, and the factor.",
)
@click.option("--json", "json_file", metavar="FILE", help="All figures, as JSON.")
@click.option(
    "--html", "html_file", metavar="FILE", help="One page with the latencies, the throughput, and who was dropped when."
)
def bench(**given: Any) -> None:
    """Put load on a WebSocket broadcast server, and check every message on every client.

    Ends with 0; with 1 when messages were lost, doubled, reordered, corrupt or late beyond waiting, or healthy clients
    dropped; with 2 when an option is wrong; with 3 when the generator was the bottleneck: not comparable.
    """
    interrupt_on_signals()  # or a server and workers that it has started would stay
    try:
        options = read_options(given)
        status = _session(options)
    except OptionError as error:
        click.echo(f"fanwise bench: {error}", err=True)
        sys.exit(2)
    except (BenchFailedError, NotStartedError) as error:
        click.echo(f"fanwise bench: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(status)


def _session(options: Options) -> int:
    if not sys.platform.startswith("linux"):
        raise BenchFailedError("the load generator runs on Linux only: it needs epoll")
    from ..tools.bench.session import Session  # noqa: PLC0415 - other commands start faster without it

    return Session(options, progress=sys.stderr, results=sys.stdout).run()
