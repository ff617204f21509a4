"""The samples in `deploy/` against the metrics and settings that the server really has, and a real engine."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fanwise.broadcaster.node import Node
from fanwise.embedding import SharedBroadcaster
from fanwise.routes.metrics import Collector
from fanwise.settings import load_settings

from .support.engines import ask, redis_server
from .support.live import until
from .support.processes import ROOT

DEPLOY = ROOT / "deploy"
_METRIC = re.compile(r"\b(?:fanwise|process)_\w+")
_LABELS = re.compile(r"((?:fanwise|process)_\w+)\{([^}]*)\}")
_MATCHER = re.compile(r"(\w+)\s*(=~|!=|!~|=)\s*\"([^\"]*)\"")
BEHIND_A_BACKPLANE = ("fanwise_workers", "fanwise_workers_silent")
# Added when metrics are scraped.
SCRAPED = {"instance", "job", "namespace", "pod"}


def expressions() -> Iterator[str]:
    for group in yaml.safe_load((DEPLOY / "prometheus-alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


@pytest.fixture(scope="module")
def known() -> dict[str, dict[str, set[str]]]:
    """{name of a sample: {label: values}}, as a server tells them that has done nothing yet."""
    registry = CollectorRegistry(auto_describe=False)
    collector: Any = Collector(Node())
    registry.register(collector)
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found | {name: {} for name in BEHIND_A_BACKPLANE}


def unknown(expression: str, known: dict[str, dict[str, set[str]]]) -> list[str]:
    """What an expression asks for that no server has: metrics, labels, and values of labels."""
    problems = [name for name in _METRIC.findall(expression) if name not in known]
    for name, matchers in _LABELS.findall(expression):
        for label, operator, value in _MATCHER.findall(matchers):
            values = known.get(name, {}).get(label)
            if values is None:
                problems += [] if label in SCRAPED else [f"{name}{{{label}}}"]
            elif "~" in operator:
                problems += [f"{label}~{part}" for part in value.split("|") if part not in values]
            elif value not in values:
                problems.append(f"{label}={value}")
    for labels in re.findall(r"by \(([^)]*)\)", expression):
        named = {label.strip() for label in labels.split(",")} - SCRAPED
        metrics = _METRIC.findall(expression)
        problems += [f"by {label}" for label in named if not any(label in known.get(name, {}) for name in metrics)]
    return problems


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_expression_asks_for_what_there_is(expression: str, known: dict[str, dict[str, set[str]]]) -> None:
    """A metric that is renamed takes its dashboard and its alerts along."""
    assert unknown(expression, known) == []


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("rate(fanwise_deliveries[5m])", "fanwise_deliveries"),
        ('fanwise_closed_total{cause="slow"}', "fanwise_closed_total{cause}"),
        ('fanwise_closed_total{reason="sloth"}', "reason=sloth"),
        ('fanwise_closed_total{reason=~"slow|sloth"}', "reason~sloth"),
        ("sum by (channel) (fanwise_clients)", "by channel"),
    ],
)
def test_what_there_is_not_is_found(expression: str, problem: str, known: dict[str, dict[str, set[str]]]) -> None:
    """The check itself can fail."""
    assert unknown(expression, known) == [problem]


def test_every_metric_is_on_the_dashboard_or_named_here(known: dict[str, dict[str, set[str]]]) -> None:
    """What is worth counting is worth seeing."""
    shown = {name for expression in expressions() for name in _METRIC.findall(expression)}
    beside = {"fanwise_info", "fanwise_channels", "fanwise_connections_total", "fanwise_delivered_bytes_total"}
    beside |= {
        "fanwise_workers",
        "fanwise_max_channels",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    }
    beside |= {f"fanwise_{name}_total" for name in ("compressions", "compressed_bytes", "saved_bytes")}
    beside |= {f"fanwise_{name}_bucket" for name in ("message_bytes", "channel_messages_per_second")}
    beside |= {f"fanwise_stretch_lag_{unit}_bucket" for unit in ("messages", "bytes")}
    parts = {name for name in known if name.endswith(("_count", "_sum", "_gcount", "_gsum", "_created"))}
    assert set(known) - shown - parts == beside


def test_panels_do_not_overlap() -> None:
    """Each has its place on a grid of 24 columns, and a number of its own."""
    panels = json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


def lines(name: str) -> Iterator[list[str]]:
    """The words of each line of a file, without comments."""
    for line in (DEPLOY / name).read_text().splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def test_the_settings_of_the_sample_are_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With values that are allowed."""
    monkeypatch.chdir(tmp_path)
    for (line,) in lines("fanwise.env"):
        monkeypatch.setenv(*line.split("=", 1))
    settings = load_settings()
    assert (settings.workers, settings.host) == (4, "0.0.0.0")
    assert settings.backplane is not None


@pytest.mark.anyio
async def test_the_sample_engine_has_what_servers_need(tmp_path: Path) -> None:
    """The rights of its user are enough for publishing and for the fleet, and for nothing that is an operator's."""
    (tmp_path / "users.acl").write_text((DEPLOY / "redis-users.acl").read_text())
    given = [[f"--{name}", *words] for name, *words in lines("redis.conf") if name not in {"bind", "port", "aclfile"}]
    options = [word for words in given for word in words]
    with redis_server(*options, "--aclfile", str(tmp_path / "users.acl")) as server:
        await until(server.socket.exists)
        with pytest.raises(Exception, match=r"NOAUTH|NOPERM"):
            await ask(server.socket, "GET", "fanwise:x")
        url = f"unix://fanwise:replace-this-password@{server.socket}"
        one, other = (SharedBroadcaster(backplane=url) for _ in range(2))
        async with one, other:
            assert (await one.publish("lobby", "hello")).offset == 1
            while len((await one.survey.ask("stats")).answers) < 2:
                assert other.ready
