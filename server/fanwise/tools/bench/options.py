"""The options of a call, checked: an error names the value and the allowed ones."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .errors import OptionError
from .load.dialects import DIALECTS
from .load.payload import MIN_BYTES
from .load.plan import CHANNEL_FIELD, Plan
from .load.recording import Range
from .run.capacity import Bound

MAX_SIZE_BYTES = 16 << 20
_MOST_RATE = 1_000_000  # messages a second
_MOST_WINDOW = 1 << 16
_LEAST_SLOW_BYTES = 10  # a second
_SPARE_FILES = 64
_MOST_BURST = 100_000  # messages
_MOST_KEYS = 1_000_000
_LEAST_BUFFER_BYTES, _MOST_BUFFER_BYTES = 1024, 64 << 20
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_UNITS_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_PACE = re.compile(r"(\d+(?:\.\d+)?)(k|M)?")
_UNITS_BYTES = {"": 1.0, "k": 1e3, "M": 1e6}
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: *[^\r\n]*")  # RFC 9110 section 5.1

Rule = tuple[bool, str, object, str]  # (whether it holds, option, value, what is allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """A checked call of the command. A plan without a URL starts a server of its own."""

    plan: Plan
    capacity: Bound | None = None
    against: str | None = None
    json_file: str | None = None
    html_file: str | None = None
    pin: bool = False


def parse_seconds(option: str, text: str) -> float:
    """From "5", "5s", "500ms", "2m" or "1h".

    Raises:
        OptionError: The text is none of these, or 0.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _UNITS_SECONDS[match[2] or ""] if match else 0.0
    if not seconds:
        raise OptionError(option, text, "a time above 0: 5, 5s, 500ms, 2m or 1h")
    return seconds


def parse_seconds_range(option: str, text: str) -> Range:
    """From "3s..20s", "500ms..2s", or "3s" for 3 s each time; in "3..20s" both are seconds.

    Raises:
        OptionError: The text is none of these, a time is 0, or the first time is above the second.
    """
    found = _parse_range(text, _DURATION, _UNITS_SECONDS)
    if found is None:
        raise OptionError(option, text, "a time or two, above 0, the smaller first: 3s, 500ms..2s or 3s..20s")
    return found


def parse_pace_range(option: str, text: str) -> Range:
    """From "20k..2M" bytes a second, or "4096" for all; k is 1,000 and M 1,000,000.

    Raises:
        OptionError: The text is none of these, a number is 0, or the first is above the second.
    """
    found = _parse_range(text, _PACE, _UNITS_BYTES)
    if found is None:
        raise OptionError(option, text, "bytes a second, or two such numbers, the smaller first: 4096, 20k or 20k..2M")
    return found


def _parse_range(text: str, pattern: re.Pattern[str], units: dict[str, float]) -> Range | None:
    first, dots, second = text.strip().partition("..")
    low, high = pattern.fullmatch(first.strip()), pattern.fullmatch((second if dots else first).strip())
    if not low or not high:
        return None
    made = Range(float(low[1]) * units[low[2] or high[2] or ""], float(high[1]) * units[high[2] or ""])
    return made if 0 < made.low <= made.high else None


def parse_share(option: str, text: str, clients: int, *, of: str = "clients") -> int:
    """Returns a number of clients: from "5%" of `clients` (at least one) or "50"; `of` names them in errors.

    Raises:
        OptionError: The text is neither, or more than `clients`.
    """
    text = text.strip()
    percent = _PERCENT.fullmatch(text)
    share = float(percent[1]) if percent else 0.0
    if percent and share <= 100 and (clients or not share):  # noqa: PLR2004 - per cent
        return max(round(clients * share / 100), 1) if share else 0
    if text.isascii() and text.isdecimal() and int(text) <= clients:
        return int(text)
    raise OptionError(option, text, f"a share like 5% or a number up to the {clients} {of}")


def check_url(url: str, channels: int) -> str:
    """Returns the URL.

    Raises:
        OptionError: The URL is no ws:// URL, or has no place for the names of several channels.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "ws" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or any(character <= " " for character in url):
        raise OptionError(
            "--url", url, "a URL that begins with ws://, such as ws://127.0.0.1:8000/ws (TLS is not spoken)"
        )
    if channels > 1 and CHANNEL_FIELD not in url:
        raise OptionError("--url", url, f"a URL with {CHANNEL_FIELD} in it, since there are {channels} channels")
    return url


def check_file(option: str, path: str | None) -> str | None:
    """Returns the path if a file can be written there: checked before the run, since a run is long.

    Raises:
        OptionError: No file can be written there.
    """
    if path is not None and (Path(path).is_dir() or not os.access(Path(path).parent, os.W_OK)):
        raise OptionError(option, path, "a file in a directory that exists and can be written to")
    return path


def check_plan(plan: Plan) -> Plan:
    """Returns the plan.

    Raises:
        OptionError: A value is out of range.
    """
    for holds, option, value, allowed in (*_count_rules(plan), *_message_rules(plan), *_server_rules(plan)):
        if not holds:
            raise OptionError(option, value, allowed)
    return plan


def _count_rules(plan: Plan) -> Iterator[Rule]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = (hard - _SPARE_FILES - plan.channels) * plan.workers
    odd = plan.slow + plan.stalled + plan.flapping + plan.pausing
    up_to_clients = f"1 to the {plan.clients} clients"
    healthy = f"less than the {plan.clients} clients together: somebody has to be healthy"
    yield 1 <= plan.workers <= plan.clients, "--workers", plan.workers, up_to_clients
    yield 1 <= plan.channels <= plan.clients, "--channels", plan.channels, up_to_clients
    yield 1 <= plan.clients <= most, "--clients", plan.clients, f"1 to {most}: a process may open {hard} files"
    yield odd < plan.clients, "--slow, --stalled, --flapping and --pausing", odd, healthy


def _message_rules(plan: Plan) -> Iterator[Rule]:
    size, rate, window, slow = plan.size_bytes, plan.rate, plan.window_messages, plan.slow_bytes_per_second
    buffer, burst = plan.receive_buffer_bytes, plan.burst_messages
    sizes = f"{MIN_BYTES} (sequence, time and check) to {MAX_SIZE_BYTES} bytes"
    buffers = f"{_LEAST_BUFFER_BYTES} to {_MOST_BUFFER_BYTES} bytes"
    yield MIN_BYTES <= size <= MAX_SIZE_BYTES, "--size", size, sizes
    yield rate is None or 0 < rate <= _MOST_RATE, "--rate", rate, f"messages a second, up to {_MOST_RATE:,}"
    yield 0 <= burst <= _MOST_BURST, "--burst", burst, f"messages at once, up to {_MOST_BURST:,}"
    yield burst <= _MOST_RATE * plan.every_seconds, "--every", plan.every_seconds, f"{burst / _MOST_RATE:g} s or more"
    yield 1 <= window <= _MOST_WINDOW, "--window", window, f"1 to {_MOST_WINDOW} messages"
    yield slow.low >= _LEAST_SLOW_BYTES, "--bandwidth", slow.low, f"{_LEAST_SLOW_BYTES} bytes a second or more"
    fits = buffer is None or _LEAST_BUFFER_BYTES <= buffer <= _MOST_BUFFER_BYTES
    yield fits, "--receive-buffer", buffer, buffers
    yield 0 <= plan.keys <= _MOST_KEYS, "--keys", plan.keys, f"0 (no keys) to {_MOST_KEYS:,}"


def _server_rules(plan: Plan) -> Iterator[Rule]:
    yield plan.dialect in DIALECTS, "--dialect", plan.dialect, " or ".join(DIALECTS)
    dialect = "--dialect fanwise.v1 beside it: in plain "
    spoken = plan.dialect != "plain"
    yield spoken or not plan.keys, "--keys", plan.keys, dialect + "a message has no key"
    yield spoken or not plan.resuming, "--resuming", plan.resuming, dialect + "a client does not know its position"
    yield plan.server_pid is None or plan.server_pid > 0, "--server-pid", plan.server_pid, "the number of a process"
    for header in plan.headers:
        yield bool(_HEADER.fullmatch(header)), "--header", header, "a line like 'Authorization: Bearer KEY'"
