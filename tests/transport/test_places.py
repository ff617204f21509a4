from __future__ import annotations

import logging

import pytest

from fanwise.core.codes import CodedError, ErrorCode
from fanwise.transport import places as module
from fanwise.transport.places import BURST_SECONDS, PATIENCE_SECONDS, PUBLISHES, Place, PlaceLimits, Places
from fanwise.transport.proxies import TrustedProxies

pytestmark = pytest.mark.anyio


class Hall(Places):
    """Places with a clock and counts of refusals."""

    def __init__(self, *, proxies: str = "", **limits: int) -> None:
        self.now = 100.0
        self.refusals: list[ErrorCode] = []
        super().__init__(
            PlaceLimits(**limits, short_paths=("/healthz", "/publish")),
            count=self.refusals.append,
            proxies=TrustedProxies([proxies] if proxies else []),
            clock=lambda: self.now,
        )


def forwarded(address: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"a"), (b"x-forwarded-for", address.encode())]


async def test_an_address_has_so_many_connections() -> None:
    """One more is refused with 429 until one has left; other addresses are not touched."""
    hall = Hall(address_connections=2)
    first, _ = hall.enter("192.0.2.7"), hall.enter("192.0.2.7")
    with pytest.raises(CodedError, match=r"192\.0\.2\.7 has the 2 connections") as caught:
        hall.enter("192.0.2.7")
    assert caught.value.code is ErrorCode.TOO_MANY_CONNECTIONS
    assert (caught.value.code.status, caught.value.code.headers["Retry-After"]) == (429, "5")
    hall.enter("192.0.2.8")
    first.leave()
    first.leave()  # once is enough
    hall.enter("192.0.2.7")
    with pytest.raises(CodedError):
        hall.enter("192.0.2.7")
    assert hall.refusals == [ErrorCode.TOO_MANY_CONNECTIONS] * 2


async def test_a_64_counts_as_one_address() -> None:
    """Whoever has one IPv6 address has 2 to the 64th; a mapped IPv4 address is itself."""
    hall = Hall(address_connections=1)
    hall.enter("2001:db8:0:7::1")
    with pytest.raises(CodedError, match="2001:db8:0:7::/64"):
        hall.enter("2001:db8:0:7:ffff::2")
    hall.enter("2001:db8:0:8::1")
    hall.enter("::ffff:192.0.2.7")
    with pytest.raises(CodedError):
        hall.enter("192.0.2.7")


async def test_an_address_opens_so_many_a_second() -> None:
    """After a burst of ten seconds' worth; time gives more."""
    hall = Hall(address_connects_per_second=3)
    for _ in range(int(3 * BURST_SECONDS)):
        hall.enter("192.0.2.7").leave()
    with pytest.raises(CodedError, match="more than 3 connections per second") as caught:
        hall.enter("192.0.2.7")
    assert (caught.value.code, caught.value.code.status) == (ErrorCode.CONNECTS_TOO_FAST, 429)
    hall.now += 1
    for _ in range(3):
        hall.enter("192.0.2.7").leave()
    with pytest.raises(CodedError):
        hall.enter("192.0.2.7")


async def test_publications_count_at_the_address() -> None:
    """A new connection has a new budget, and the debt of its address; loopback and other addresses have none."""
    hall = Hall(address_publishes_per_second=2, address_connections=9)
    first = hall.enter("2001:db8::1")
    assert first.publish(int(2 * BURST_SECONDS)) == 0
    assert first.publish(4) == 2
    first.leave()
    assert first.publish(1_000) == 0, "the connection is gone, and so is its address"
    assert hall.enter("2001:db8::2").publish(2) == 3
    assert hall.enter("2001:db8:0:1::2").publish(1) == hall.enter("127.0.0.1").publish(1_000) == 0
    hall.now += 2
    assert hall.enter("2001:db8::3").publish(0) == 1


async def test_tokens_have_a_rate_of_their_own() -> None:
    """One address may ask for so many signatures to be verified, on all its connections."""
    hall = Hall(address_tokens_per_second=1)
    one, other = hall.enter("192.0.2.1"), hall.enter("192.0.2.1")
    assert (one.verify(10), other.verify(2), one.publish(1)) == (0, 2, 0)
    assert (hall.enter("192.0.2.2").verify(1), hall.enter("127.0.0.1").verify(1_000)) == (0, 0)


async def test_the_debt_of_an_idle_address_is_remembered() -> None:
    """Until it is paid, and the burst is there again; then the address is forgotten."""
    hall = Hall(address_publishes_per_second=10)
    place = hall.enter("192.0.2.1")
    place.publish(200)
    place.leave()
    for seconds, debt in ((1, 9.0), (10, 0.0), (8, 0.0)):
        hall.now += seconds
        hall.enter(f"198.51.100.{seconds}").leave()  # a new address makes an old one go
        assert hall.count("192.0.2.1", PUBLISHES, 0) == debt
    hall.now += 2
    hall.enter("198.51.100.2").leave()
    assert "192.0.2.1" not in hall._addresses


async def test_all_together_open_so_many_a_second() -> None:
    """503: it is not the fault of the one who comes. Refused ones of one address take nothing from others."""
    hall = Hall(connects_per_second=2, address_connections=1)
    hall.enter("192.0.2.1")
    for _ in range(100):
        with pytest.raises(CodedError):
            hall.enter("192.0.2.1")
    for number in range(2, 2 + int(2 * BURST_SECONDS) - 1):
        hall.enter(f"192.0.2.{number}")
    with pytest.raises(CodedError) as caught:
        hall.enter("192.0.2.99")
    assert (caught.value.code, caught.value.code.status) == (ErrorCode.BUSY, 503)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
async def test_loopback_is_exempt(host: str) -> None:
    """Load from the machine itself is its operator's."""
    hall = Hall(address_connections=1, address_connects_per_second=1, connects_per_second=1)
    for _ in range(100):
        hall.enter(host)
    assert hall.refusals == []


async def test_behind_a_trusted_proxy_the_forwarded_address_counts() -> None:
    """From the head of the first request on, and at one address at a time; what others forward is not believed."""
    hall = Hall(proxies="127.0.0.1", address_connections=1)
    first, second = hall.enter("127.0.0.1"), hall.enter("127.0.0.1")
    first.check(b"/ws", forwarded("192.0.2.7"))
    first.check(b"/ws", forwarded("192.0.2.7"))
    with pytest.raises(CodedError, match=r"192\.0\.2\.7"):
        second.check(b"/ws", forwarded("192.0.2.7"))
    first.check(b"/ws", forwarded("192.0.2.8"))
    second.check(b"/ws", forwarded("192.0.2.7"))
    stranger = hall.enter("198.51.100.1")
    stranger.check(b"/ws", forwarded("192.0.2.7"))


async def test_addresses_that_left_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """When they could come again as if new; and others before that, when there are too many."""
    monkeypatch.setattr(module, "IDLE_ADDRESSES", 100)
    hall = Hall()
    stays = hall.enter("192.0.2.7")
    for number in range(300):
        hall.enter(f"2001:db8:0:{number:x}::1").leave()
    assert len(hall._addresses) <= 102
    hall.now += BURST_SECONDS
    for number in range(60):
        hall.enter(f"2001:db9:0:{number:x}::1").leave()
    assert {name.partition("::")[0] for name in hall._addresses} == {
        "192.0.2.7",
        *(f"2001:db9:0:{number:x}" if number else "2001:db9" for number in range(60)),
    }
    stays.leave()


async def test_refusals_take_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """At once for the first; the others are told together."""
    hall = Hall(address_connections=1)
    hall.enter("192.0.2.7")
    with caplog.at_level(logging.WARNING):
        for _ in range(1_000):
            with pytest.raises(CodedError):
                hall.enter("192.0.2.7")
        (line,) = [record.getMessage() for record in caplog.records]
        assert line == "1 connections found no place, the latest of 192.0.2.7: too_many_connections"
        hall._refusals._log()  # the timer's
    assert caplog.records[-1].getMessage().startswith("999 connections found no place")


def waits(hall: Hall, ended: list[Place], *, short: bool = False) -> Place:
    place = hall.enter("192.0.2.7", short=short)
    place.end = lambda: ended.append(place)
    return place


async def test_who_waits_for_long_makes_room() -> None:
    """When descriptors are short: the longest waiting first, and none that has sent a request."""
    hall, ended = Hall(), list[Place]()
    asked, first, second = (waits(hall, ended) for _ in range(3))
    asked.check(b"/ws", [])
    assert not hall.make_room(needed=True)
    hall.now += PATIENCE_SECONDS
    assert hall.make_room(needed=False)
    assert hall.make_room(needed=False)
    assert not hall.make_room(needed=True)
    assert ended == [first, second]


async def test_the_reserve_goes_round() -> None:
    """The newest has the best chance; one with a request goes to the end of the row."""
    hall, ended = Hall(), list[Place]()
    works, first, second = (waits(hall, ended, short=True) for _ in range(3))
    works.check(b"/publish/lobby?x=1", [])
    with pytest.raises(CodedError) as caught:
        second.check(b"/ws", [])
    assert caught.value.code is ErrorCode.FULL
    for path in (b"/healthz/../ws", b"/publisher", b"/", b"\xff"):
        assert hall.answers_when_short(path) is (path == b"/healthz/../ws"), "the router knows what is below"
    assert not hall.make_room(needed=False)
    while hall.make_room(needed=True):
        pass
    assert ended == [first, second, works]
    assert not hall.reserve
