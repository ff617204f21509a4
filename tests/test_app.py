from __future__ import annotations

import pytest
from starlette.requests import HTTPConnection

import fanwise.app
from fanwise.app import create_app
from fanwise.backplane.options import Options
from fanwise.backplane.redis.backplane import RedisBackplane
from fanwise.backplane.redis.fleet import RedisFleet
from fanwise.core.codes import CodedError
from fanwise.errors import SettingsError
from fanwise.settings import load_settings

from .support.live import running


def test_settings_reach_what_they_set() -> None:
    """What is set for the application is in force in its broadcaster."""
    settings = load_settings(queue_messages="7", queue_bytes="100000", max_message_bytes="99999", max_clients="3")
    broadcaster = create_app(settings).state.broadcaster
    assert (broadcaster._hub.queue_messages, broadcaster._hub.queue_bytes) == (7, 100_000)
    assert (broadcaster.max_message_bytes, broadcaster.max_clients) == (99_999, 3)


@pytest.mark.anyio
async def test_settings_reach_the_backplane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the engine, and the bounds that it shares with the logs; sentinels ask for a replica by default."""
    for connection in (RedisBackplane, RedisFleet):
        monkeypatch.setattr(connection, "start", _as_is)
    engine = {"prefix": "mine", "durable": True, "live_bytes": 70_000}
    flags = {f"backplane_{name}": str(value) for name, value in engine.items()}
    flags |= {"publish_seconds": "1.5", "history_seconds": "7", "history_messages": "8", "history_bytes": "9"}
    bounds = {"publish_seconds": 1.5, "history_seconds": 7.0, "history_messages": 8, "history_bytes": 9}
    for url, replicas in (("redis://h", 0), ("redis+sentinel://h/name", 1)):
        async with create_app(load_settings(backplane=url, **flags)).state.broadcaster as broadcaster:
            assert broadcaster.shares
            expected = Options(**engine, **bounds, replicas=replicas)  # type: ignore[arg-type]
            assert broadcaster.sharing._backplane._options == expected
    shared = create_app(load_settings(backplane="redis+sentinel://h/name", backplane_replicas="0"))
    async with shared.state.broadcaster as broadcaster:
        assert broadcaster.sharing._backplane._options.replicas == 0


async def _as_is(connection: object, listener: object) -> None:
    """In place of connecting."""


@pytest.mark.anyio
@pytest.mark.parametrize("given", [{}, {"open": "true"}])
async def test_through_a_proxy_strangers_only_read(given: dict[str, str]) -> None:
    """Over HTTP and over WebSockets, unless the settings say that everybody may publish."""
    passed_on = {"X-Forwarded-For": "192.0.2.7"}
    async with running(create_app(load_settings(**given))) as live:
        answer = await live.request("POST", "/publish/lobby", b"x", headers=passed_on)
        assert (answer.status == 200) is bool(given)
        assert (await live.request("GET", "/channels", headers=passed_on)).status == 200
        async with await live.talk(additional_headers=passed_on) as talk:
            said = await talk.ask(op="publish", channel="lobby", data="x")
            assert said["op"] == ("published" if given else "error")


def test_all_routes_are_the_application_s_own() -> None:
    """FastAPI builds the routes of an included router again at the first request, and asks each twice per request."""
    paths = {getattr(route, "path", None) for route in create_app(load_settings()).routes}
    assert {"/ws", "/publish", "/healthz", "/"} <= paths
    assert None not in paths  # an included router is a route without a path


def test_every_default_of_the_settings_is_that_of_the_broadcaster() -> None:
    """An embedded broadcaster behaves like a served one."""
    embedded, served = fanwise.Broadcaster(), create_app(load_settings()).state.broadcaster
    for name, value in vars(embedded).items():
        if isinstance(value, int | float):
            assert getattr(served, name) == value
    assert vars(embedded._hub).keys() == vars(served._hub).keys()
    for name, value in vars(embedded._hub).items():
        if isinstance(value, int | float):
            assert getattr(served._hub, name) == value


@pytest.mark.parametrize(
    ("host", "allowed", "answers"),
    [
        ("127.0.0.1", None, {"127.0.0.1": True, "localhost": True, "[::1]": True, "evil.com": False}),
        ("127.0.0.1", "example.com", {"127.0.0.1": False, "example.com": True}),
        ("127.0.0.1", "*", {"evil.com": True}),
        ("0.0.0.0", None, {"evil.com": True}),
        ("0.0.0.0", "example.com", {"evil.com": False, "example.com": True}),
    ],
)
def test_a_server_on_loopback_answers_for_the_names_of_loopback(
    host: str, allowed: str | None, answers: dict[str, bool]
) -> None:
    """Unless the settings name hosts; a server that others reach answers for all, unless they do."""
    access = fanwise.app.access(load_settings(host=host, allowed_hosts=allowed))

    def refused(name: str) -> bool:
        try:
            access.check_site(HTTPConnection({"type": "http", "headers": [(b"host", name.encode())]}))
        except CodedError:
            return True
        return False

    assert {name: not refused(name) for name in answers} == answers


@pytest.mark.anyio
async def test_a_proxy_is_believed_if_it_is_trusted() -> None:
    """In `/clients`: no text of a stranger stands there; without the setting the peer is who it is."""
    for proxies, address in ((None, "127.0.0.1"), ("127.0.0.1", "192.0.2.7")):
        app = create_app(load_settings(trusted_proxies=proxies))
        async with running(app) as live:
            said = {"X-Forwarded-For": "6.6.6.6, 192.0.2.7"}
            async with await live.connect(additional_headers=said), live.events("/sse/a", headers=said) as events:
                await events.next()
                clients = (await live.request("GET", "/clients")).json["clients"]
        assert [client["address"].partition(":")[0] for client in clients] == [address] * 2


def test_the_environment_is_read_when_the_application_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing the module reads nothing; `fanwise.app:app` does, once."""
    monkeypatch.setenv("FANWISE_PORT", "http")
    with pytest.raises(SettingsError):
        _ = fanwise.app.app
    monkeypatch.delenv("FANWISE_PORT")
    assert fanwise.app.app is fanwise.app.app
    with pytest.raises(AttributeError):
        _ = fanwise.app.application
