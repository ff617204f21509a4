from __future__ import annotations

from fanwise.tools.bench.load.plan import Plan
from fanwise.tools.bench.output.console import capacity_lines, factor_lines, late_readers, lines, load, verdict
from fanwise.tools.bench.run.capacity import Bound, find_capacity
from fanwise.tools.bench.run.comparison import compare
from fanwise.tools.load.behaviour import Behaviour

from ....support.bench import MILLISECOND, delivered, dropped, score


def test_the_load_in_one_line() -> None:
    """Odd clients, channels and pace are named where there are any."""
    assert load(Plan(url="", clients=1000, slow=50)) == (
        "1,000 clients (50 slow), 128 bytes, saturated (64 in flight), 5 s, plain"
    )
    assert "3 channels" in load(Plan(url="", channels=3, rate=20))
    assert "20 messages/s" in load(Plan(url="", channels=3, rate=20))
    bursts = Plan(url="", rate=20, burst_messages=500, pausing=9)
    assert "(9 pausing), 128 bytes, 20 messages/s and 500 at once each 2 s, 5 s" in load(bursts)


def test_the_verdict() -> None:
    """None where the generator was the bottleneck; flaws are told all the same."""
    lossy = delivered(10, MILLISECOND)
    lossy[Behaviour.HEALTHY].lost = 4
    assert verdict(score()).startswith("every message reached")
    assert verdict(score(tallies=lossy)) == "flawed: 4 lost"
    assert verdict(score(cpu_seconds=0.99)).startswith("not comparable: the generator used 99% of a core")
    assert verdict(score(cpu_seconds=0.99, tallies=lossy)).endswith("(and 4 lost)")
    assert verdict(score(tallies=delivered(0, 0))) == "nothing was delivered"


def test_a_run_in_lines() -> None:
    """With who was dropped, who stayed, and what is not known."""
    told = "\n".join(
        lines(
            "ws://h/",
            score(
                **dropped("4009 stalled", times=7),
                open_clients={Behaviour.SLOW: 3},
                flaps=12,
                notes={"too_big: no": 2},
                server_cpu_seconds=None,
            ),
        )
    )
    for words in (
        "1,000/s",
        "p99.9 2 ms",
        "7 stalled: 4009 stalled (at 0.5 s)",
        "slow        0 dropped, 3 still connected, 0 skipped",
        "stalled     7 dropped, 0 still connected",
        "flapping left 12 times",
        "too_big: no (2 times)",
        "--server-pid",
        "verdict",
    ):
        assert words in told


def test_clients_that_read_late_have_a_line() -> None:
    """Each kind its own: what became of them, and how old messages were when they read them."""
    tallies = delivered(1000, MILLISECOND)
    pausing = tallies[Behaviour.PAUSING]
    pausing.deliveries, pausing.lost, pausing.gaps_told, pausing.returned, pausing.recovered = 100, 29, 20, 5, 4
    pausing.latency.add(1500 * MILLISECOND, 98)
    pausing.latency.add(9000 * MILLISECOND, 2)
    found = late_readers(score(tallies=tallies, **dropped("4008 slow", kind=Behaviour.PAUSING, times=6)))
    assert len(found) == 1
    assert "6 dropped, 0 still connected, 5 came back (4 without a gap), 29 skipped, 20 of them announced" in found[0]
    assert "staleness p50 1,502 ms, p99 9,000 ms" in found[0]  # a bucket's middle, and the maximum


def test_a_limited_publisher_is_told_the_setting() -> None:
    """And nobody else."""
    for cause, told in (("1008 rate", True), ("4009 stalled", False)):
        shown = "\n".join(lines("ws://h/", score(**dropped(cause, kind=Behaviour.PUBLISHER))))
        assert ("FANWISE_RATE_LIMITS=no" in shown) is told


def test_a_comparison_in_lines() -> None:
    """Headed by the rival's name."""
    assert factor_lines("queue", compare(score(), score(), rival="queue"))[0] == "Fanwise against queue:"


def test_a_search_in_lines() -> None:
    """Each step, and the knee; or why there is none."""
    bound, held = Bound("p99", 100.0), Plan(url="", rate=10.0, duration_seconds=0.1)
    found = find_capacity(
        bound, 8.0, lambda rate: score(plan=held, latency_ns=(50 if rate < 20 else 500) * MILLISECOND)
    )
    told = "\n".join(capacity_lines(found))
    assert "the knee: 1" in told
    assert "broke: p99 was" in told
    limited = find_capacity(bound, 8.0, lambda _rate: score(plan=held, cpu_seconds=0.99))
    told = "\n".join(capacity_lines(limited))
    assert "not found further: at 8 messages/s the generator" in told
    assert "no rate held" in told
