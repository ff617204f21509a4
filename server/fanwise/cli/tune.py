"""`fanwise tune`: a trace, a running server or a plan in; settings with their price out."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ..core.roles import Role, key_with
from ..errors import FanwiseError, SettingsError, TraceError
from ..tools.bench.errors import OptionError
from ..tools.bench.options import check_file, parse_pace_range, parse_seconds, parse_seconds_range, parse_share
from ..tools.remote import PATIENCE_SECONDS, Remote
from .flags import BAD_SETTINGS, SettingsCommand
from .interrupts import INTERRUPTED, interrupt_on_signals

if TYPE_CHECKING:  # a replay brings along what other commands do not need
    from ..core.trace import Header, Record
    from ..tuning.outcome import Candidate
    from ..tuning.plan import Plan
    from ..tuning.proposal import Proposal
    from ..tuning.search import Wish

CANNOT: Final = 3  # exit status: there is nothing to learn from
_BYTES = re.compile(r"(\d+(?:\.\d+)?)([kMG]?)")
_UNITS_BYTES: Final = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_MOST_TRACE_BYTES: Final = 80 << 20
_CHUNK_BYTES: Final = 65_536
_PLAN = (
    "rate",
    "size",
    "clients",
    "pausing",
    "pause",
    "between",
    "slow",
    "bandwidth",
    "burst",
    "every",
    "keys",
    "seed",
)
_LIKE: Final[dict[str, dict[str, Any]]] = {
    # Quotes to phones, which sleep now and then.
    "ticker": {"rate": 50.0, "size": 300, "clients": 200, "pausing": "20%", "pause": "1s..20s", "between": "20s"},
    # Few short messages, a burst now and then; some clients lie in a background tab.
    "chat": {"rate": 5.0, "size": 200, "clients": 200, "burst": 100, "pausing": "10%", "pause": "5s..60s"},
    # Positions of which only the newest counts; some clients have little bandwidth.
    "cursors": {"rate": 300.0, "size": 80, "clients": 100, "keys": 50, "slow": "10%", "bandwidth": "5k..40k"},
}
_MOST, _MOST_SIZE, _MOST_BURST = 1_000_000, 16 << 20, 100_000
_NEEDED = ("clients", "size")


class CannotError(FanwiseError):
    """There is nothing to learn from."""


def parse_bytes(option: str, text: str) -> float:
    """From "4096", "20k", "2M" or "1G"; k is 1,000.

    Raises:
        OptionError: The text is none of these, or 0.
    """
    match = _BYTES.fullmatch(text.strip())
    value = float(match[1]) * _UNITS_BYTES[match[2]] if match else 0.0
    if not value:
        raise OptionError(option, text, "a number above 0: 4096, 20k, 2M or 1G")
    return value


@click.command(cls=SettingsCommand)
@click.option("--url", metavar="URL", help="Watch this server: its trace is recorded for --for.")
@click.option("--for", "watch", default="60s", show_default=True, metavar="TIME", help="With --url: how long.")
@click.option("--trace", "trace_file", metavar="FILE", help="A file that `fanwise trace` has written.")
@click.option(
    "--like", type=click.Choice(list(_LIKE)), help="A plan of a known kind; the options below change parts of it."
)
@click.option("--rate", type=float, metavar="N", help="A plan: publications a second.")
@click.option("--size", type=int, metavar="BYTES", help="A plan: payload of each.")
@click.option("--clients", type=int, metavar="N", help="A plan: clients of the channel.")
@click.option("--pausing", metavar="5%|N", help="A plan: clients that stop reading now and then.")
@click.option("--pause", metavar="TIME", help="A plan: how long, as 3s..20s.  [default: 1s..10s]")
@click.option("--between", metavar="TIME", help="A plan: from one pause to the next, on average.  [default: 20s]")
@click.option("--slow", metavar="5%|N", help="A plan: clients with little bandwidth.")
@click.option("--bandwidth", metavar="20k..2M", help="A plan: bytes a second of these.  [default: 100k..1M]")
@click.option("--burst", type=int, metavar="N", help="A plan: publications at once, beside those of --rate.")
@click.option("--every", metavar="TIME", help="A plan: from one burst to the next.  [default: 2s]")
@click.option("--keys", type=int, metavar="N", help="A plan: publications take turns in so many keys.")
@click.option("--seed", type=int, metavar="N", help="A plan: of its chances.  [default: 1]")
@click.option(
    "--away", metavar="TIME", help="After a close, until a client comes back, as 0.5s..1.5s; never: it does not."
)
@click.option("--duration", metavar="TIME", help="A plan: how much of it is replayed.  [default: 2m]")
@click.option("--stale", metavar="TIME", help="Age that 99 of 100 publications may have for clients that are behind.")
@click.option("--memory", metavar="64M", help="What logs and transports may take at worst.")
@click.option("--prove", is_flag=True, help="Play it with `fanwise bench` on a server of our own, before and after.")
@click.option("--json", "json_wanted", is_flag=True, help="Print all figures as JSON.")
@click.option("--html", "html_file", metavar="FILE", help="One page with curves over the width of the queue.")
def tune(**given: Any) -> None:
    """Find settings for clients that are behind: from a trace, a running server or a plan.

    A replay on a virtual clock shows what each choice would have done. Nothing is changed. The settings in force are
    those of the trace; of a plan, they are this command's flags and variables.

    Ends with 0 when nothing is worth changing; with 1 when there is a proposal; with 2 when an option or a setting
    cannot be used; with 3 when there is nothing to learn from: no server, no key, a damaged trace.
    """
    interrupt_on_signals()  # or a server that we have started would stay
    try:
        status = _run(given)
    except (OptionError, SettingsError) as error:
        for problem in error.problems if isinstance(error, SettingsError) else [str(error)]:
            click.echo(f"fanwise tune: {problem}", err=True)
        sys.exit(BAD_SETTINGS)
    except FanwiseError as error:
        click.echo(f"fanwise tune: {error}", err=True)
        sys.exit(CANNOT)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(status)


def _run(given: dict[str, Any]) -> int:
    from ..tuning import report  # noqa: PLC0415 - imported late
    from ..tuning.page import page  # noqa: PLC0415 - imported late

    known = _LIKE.get(given["like"], {})
    given = {**given, **{name: value for name, value in known.items() if given[name] is None}}
    _check_sources(given)
    check_file("--html", given["html_file"])
    proposal, source = _proposal(given)
    if given["html_file"]:
        Path(given["html_file"]).write_text(page(proposal, source=source))
    proofs = _prove(given, proposal) if given["prove"] else []
    if given["json_wanted"]:
        click.echo(json.dumps({**report.document(proposal), "source": source, "proof": proofs}, indent=1))
    else:
        click.echo(f"fanwise tune: {source}")
        for line in [*report.lines(proposal), *_proof_lines(proofs)]:
            click.echo(line)
    return 1 if proposal.changes else 0


def _check_sources(given: dict[str, Any]) -> None:
    sources = [name for name in ("url", "trace_file") if given[name] is not None]
    planned = [name for name in _PLAN if given[name] is not None]
    if len(sources) + bool(planned) != 1:
        raise OptionError("the source", " ".join(sources + planned) or "none", "one of --url, --trace, or a plan")
    if planned:
        missing = [f"--{name}" for name in _NEEDED if given[name] is None]
        if missing or not (given["rate"] or given["burst"]):
            raise OptionError("the plan", "incomplete", "--rate or --burst, and --size and --clients beside it")
    elif given["prove"]:
        raise OptionError("--prove", "given", "a plan: the load of a trace cannot be made again")


def _proposal(given: dict[str, Any]) -> tuple[Proposal, str]:
    from ..tuning.outcome import Candidate  # noqa: PLC0415 - imported late
    from ..tuning.plan import make_scene, planned_pauses  # noqa: PLC0415 - imported late
    from ..tuning.proposal import propose  # noqa: PLC0415 - imported late
    from ..tuning.search import Search  # noqa: PLC0415 - imported late
    from ..tuning.traced import read_scene  # noqa: PLC0415 - imported late

    wish = _wish(given)
    if given["url"] is None and given["trace_file"] is None:
        plan = read_plan(given)
        scene = make_scene(plan)
        search = Search(scene, _settings(given), wish=wish, progress=_progress)
        return propose(search, pauses=planned_pauses(scene)), f"a plan of {plan.seconds:g} s"
    source = given["url"] if given["url"] is not None else given["trace_file"]
    header, records = _records(given)
    traced = read_scene(header, records, away=_away(given))
    if not traced.scene.publications:
        raise CannotError(f"{source}: nothing was published, so there is nothing to learn")
    search = Search(traced.scene, Candidate.of(header.settings), wish=wish, progress=_progress)
    return propose(search, traced), f"{source}, {traced.scene.seconds:.0f} s of a server {header.server}"


def read_plan(given: dict[str, Any]) -> Plan:
    """Returns the plan that the options describe.

    Raises:
        OptionError: A value cannot be used.
    """
    from ..tuning.plan import Plan  # noqa: PLC0415 - imported late

    clients, rate, size, burst = given["clients"], given["rate"] or 0.0, given["size"], given["burst"] or 0
    for option, value, least, most in (
        ("--clients", clients, 1, _MOST),
        ("--rate", rate, 0, _MOST),
        ("--size", size, 1, _MOST_SIZE),
        ("--burst", burst, 0, _MOST_BURST),
        ("--keys", given["keys"] or 0, 0, _MOST),
    ):
        if not least <= value <= most:
            raise OptionError(option, value, f"{least} to {most:,}")
    pausing = parse_share("--pausing", given["pausing"] or "0", clients)
    slow = parse_share("--slow", given["slow"] or "0", clients)
    if pausing + slow > clients:
        raise OptionError("--pausing and --slow", pausing + slow, f"up to the {clients} clients together")
    return Plan(
        rate=rate,
        size=size,
        clients=clients,
        pausing=pausing,
        pause_seconds=parse_seconds_range("--pause", given["pause"] or "1s..10s"),
        between_seconds=parse_seconds("--between", given["between"] or "20s"),
        slow=slow,
        bandwidth=parse_pace_range("--bandwidth", given["bandwidth"] or "100k..1M"),
        burst=burst,
        burst_seconds=parse_seconds("--every", given["every"] or "2s"),
        keys=given["keys"] or 0,
        away_seconds=None if given["away"] == "never" else _away(given) or (0.5, 1.5),
        seconds=parse_seconds("--duration", given["duration"] or "2m"),
        seed=given["seed"] or 1,
    )


def _away(given: dict[str, Any]) -> tuple[float, float] | None:
    away = given["away"]
    return None if away in (None, "never") else parse_seconds_range("--away", away)


def _wish(given: dict[str, Any]) -> Wish:
    from ..tuning.search import Wish  # noqa: PLC0415 - imported late

    stale, memory = given["stale"], given["memory"]
    return Wish(
        **({} if stale is None else {"stale_seconds": parse_seconds("--stale", stale)}),
        **({} if memory is None else {"memory_bytes": parse_bytes("--memory", memory)}),
    )


def _settings(given: dict[str, Any]) -> Candidate:
    """Returns the settings in force, as `fanwise serve` would have them."""
    from ..settings import Settings, load_settings  # noqa: PLC0415 - imported late
    from ..tuning.outcome import Candidate  # noqa: PLC0415 - imported late

    flags = {name: given.get(name) for name in Settings.model_fields}
    return Candidate.of(load_settings(**flags).model_dump())


def _records(given: dict[str, Any]) -> tuple[Header, list[Record]]:
    from ..core.trace import Header  # noqa: PLC0415 - imported late
    from ..core.trace_reader import read_trace  # noqa: PLC0415 - imported late

    header: Header | None = None
    records: list[Record] = []
    try:
        for part in read_trace(_chunks(given)):
            if isinstance(part, Header):
                header = part
            else:
                records.append(part)
    except TraceError as error:
        raise CannotError(f"the trace cannot be read {error}") from error
    assert header is not None  # `read_trace` has raised otherwise
    return header, records


def _chunks(given: dict[str, Any]) -> Iterator[bytes]:
    if given["url"] is None:
        try:
            with Path(given["trace_file"]).open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise OptionError("--trace", given["trace_file"], f"a file that can be read: {error.strerror}") from error
        return
    seconds = parse_seconds("--for", given["watch"])
    key = key_with(Role.OPERATE, given["api_key"])
    remote = Remote(given["url"], api_key=key, patience_seconds=seconds + PATIENCE_SECONDS)
    click.echo(f"fanwise tune: watching {remote.url} for {seconds:g} s", err=True)
    with remote.asking("GET", f"/trace?seconds={seconds:g}", headers={"Connection": "close"}) as answer:
        if answer.status != HTTPStatus.OK:
            raise remote.refusal("GET /trace", answer.status, answer.read_body(most_bytes=_CHUNK_BYTES))
        yield answer.read_body(most_bytes=_MOST_TRACE_BYTES)


def _progress(done: int, _candidate: Candidate) -> None:
    if sys.stderr.isatty():
        click.echo(f"\rfanwise tune: {done} replays", err=True, nl=False)


def _prove(given: dict[str, Any], proposal: Proposal) -> list[dict[str, Any]]:
    from ..tuning.prove import prove  # noqa: PLC0415 - imported late

    return prove(read_plan(given), proposal)


def _proof_lines(proofs: list[dict[str, Any]]) -> list[str]:
    from ..tuning.prove import proof_lines  # noqa: PLC0415 - imported late

    return proof_lines(proofs)
