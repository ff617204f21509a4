"""The cases of the Autobahn test suite, against our protocol class: `tox -e autobahn`.

The package `kosoku` runs Autobahn's own case files under Python 3. The server is an echo over a broadcaster, with
permessage-deflate, which `fanwise serve` does not offer. It has no rates, since cases send 65,536 fragments in a
message. It sends no pings, because a case ends with the first frame that was not expected.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from kosoku import FailureError, run_fuzzingclient
from kosoku.cases import CASES

from fanwise.transport.limits import Limits
from fanwise.transport.websocket_protocol import FanwiseProtocol

from ...support.live import echo, running

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),  # of the cases of compression
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

MEBIBYTE = 1_048_576
# Bad UTF-8 in a frame that has not come completely: we look at whole frames, and the section says nothing of parts.
NOT_STRICT = {"6.4.3", "6.4.4"}
# A server with a window of 2^9 bytes is asked for, and declined: one frame is for all clients (RFC 7692 7.1.2.1).
DECLINED = {f"13.{section}.{case}" for section in (3, 5) for case in range(1, 19)}
CHAPTERS = {
    "framing to closing": ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"],
    "limits": ["9.*"],
    "compression": ["12.*"],
    "compression with parameters": ["13.*"],
}
CASES_OF_AUTOBAHN = 517


@pytest.fixture(autouse=True)
def _messages_are_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases of compression hash the bytes that they receive. The package hands text to them: binary as Latin-1."""
    for name, case in CASES.items():
        if name.startswith(("12.", "13.")):
            monkeypatch.setattr(case, "onMessage", with_bytes(vars(case)["onMessage"]))


def with_bytes(take: Any) -> Any:
    def on_message(self: Any, message: str | bytes, binary: bool) -> None:
        take(self, message.encode("latin-1" if binary else "utf-8") if isinstance(message, str) else message, binary)

    return on_message


def test_all_cases_are_run() -> None:
    """The package has them all, and each is in a chapter."""
    assert len(CASES) == CASES_OF_AUTOBAHN
    assert {name.partition(".")[0] for name in CASES} == {
        glob.partition(".")[0] for globs in CHAPTERS.values() for glob in globs
    }


@pytest.mark.parametrize("chapter", CHAPTERS)
async def test_every_case_is_passed(chapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """None has failed, and what is acceptable but not strict, or declined, is known."""
    monkeypatch.setattr(FanwiseProtocol, "limits", Limits(fragments=100_000, message_seconds=600, rates=False))
    names = iter(range(CASES_OF_AUTOBAHN + 1))
    asgi, _ = echo(
        name=lambda _: f"case-{next(names)}",
        max_message_bytes=32 * MEBIBYTE,
        queue_messages=10_000,
        queue_bytes=256 * MEBIBYTE,
        history_seconds=1.0,  # each case has a channel of its own: the logs of 90 would be more than `memory_bytes`
        memory_bytes=None,
    )
    async with running(asgi) as live:
        live.server.config.ws_per_message_deflate = True
        live.server.config.ws_ping_interval = None
        try:
            results = await run_fuzzingclient(f"ws://127.0.0.1:{live.port}/ws", CHAPTERS[chapter], concurrency=2)
        except FailureError as failure:
            results = failure.results
    failed = [
        (one.case_id, one.behavior.value, one.result, one.result_close, one.remote_close_code, one.remote_close_reason)
        for one in results
        if not one.passed and one.behavior.value != "UNIMPLEMENTED"
    ]
    assert failed == []
    print(chapter, len(results), Counter(one.behavior.value for one in results))  # noqa: T201 - shown by `-s`
    assert {one.case_id for one in results if one.behavior.value == "NON-STRICT"} <= NOT_STRICT
    declined = {one.case_id for one in results if one.behavior.value == "UNIMPLEMENTED"}
    assert declined == (DECLINED if chapter == "compression with parameters" else set())
