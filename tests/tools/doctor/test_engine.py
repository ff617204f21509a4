from __future__ import annotations

import pytest

from fanwise.tools.doctor.engine import EngineFacts, engine
from fanwise.tools.doctor.findings import Level

GOOD = EngineFacts("redis://h:6379", "", "valkey 9.1.2", 0.0003, 1 << 30, "noeviction", "off", 0, 33_554_432)


def found(facts: EngineFacts, *, durable: bool = False, replicas: int = 0) -> dict[str, tuple[Level, str]]:
    return {one.name: (one.level, one.found + one.fix) for one in engine(facts, durable=durable, replicas=replicas)}


def test_a_good_engine() -> None:
    """How fast it is, what it may take, and what a restart costs."""
    told = found(GOOD)
    assert {level for level, _ in told.values()} == {Level.OK}
    assert set(told) == {"engine", "engine memory", "engine restarts", "engine buffers"}
    assert "valkey 9.1.2 and answers within 0.3 ms" in told["engine"][1]
    assert "gap for the reason epoch" in told["engine restarts"][1]


@pytest.mark.parametrize(
    ("changed", "given", "line", "level", "says"),
    [
        ({"problem": "NOPERM", "engine": ""}, {}, "engine", Level.FAIL, "redis://h:6379: NOPERM"),
        ({"problem": "NOPERM no key"}, {}, "engine", Level.FAIL, "rights"),
        ({"ping_seconds": 0.05}, {}, "engine", Level.WARN, "within 50 ms"),
        ({"policy": "allkeys-lru"}, {}, "engine memory", Level.FAIL, "noeviction"),
        ({"max_bytes": 0}, {}, "engine memory", Level.WARN, "set maxmemory"),
        ({"fsync": "everysec"}, {"durable": True}, "engine restarts", Level.FAIL, "appendfsync always"),
        ({"fsync": "always"}, {"durable": True}, "engine restarts", Level.OK, "survive"),
        ({"replicas": 1}, {"replicas": 2}, "engine replicas", Level.FAIL, "1 are connected"),
        ({"replicas": 1}, {}, "engine replicas", Level.WARN, "REPLICAS=1"),
        ({"replicas": 1}, {"replicas": 1}, "engine replicas", Level.OK, "wait for 1"),
        ({"pushed_bytes": 1_000_000}, {}, "engine buffers", Level.WARN, "1,000,000 bytes"),
        ({"pushed_bytes": 0}, {}, "engine buffers", Level.OK, "unlimited"),
    ],
)
def test_what_is_not_as_it_should_be(
    changed: dict[str, object], given: dict[str, object], line: str, level: Level, says: str
) -> None:
    """With what to change."""
    told = found(GOOD._replace(**changed), **given)  # type: ignore[arg-type]
    assert told[line][0] is level
    assert says in told[line][1]


def test_what_is_unknown_is_not_judged() -> None:
    """Managed engines do not tell their parameters; NATS has others."""
    assert set(found(EngineFacts("nats://h:4222", "", "nats-server 2.12", 0.001))) == {"engine"}
