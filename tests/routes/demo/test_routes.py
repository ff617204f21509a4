from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from fanwise.app import create_app
from fanwise.broadcaster.node import Node
from fanwise.routes.auth.guards import Access
from fanwise.routes.demo.routes import DemoInfo, DemoStatus
from fanwise.settings import load_settings

from ...support.demo import staged
from ...support.live import Answer, Live, running
from ...support.processes import ServerProcess

PLAN = {"clients": 3, "size": 64}


async def put(live: Live, plan: object, *, path: str = "/demo", **headers: str) -> Answer:
    return await live.request(
        "PUT", path, json.dumps(plan).encode(), headers={"Content-Type": "application/json"} | headers
    )


def flowing(document: dict[str, Any]) -> dict[str, Any]:
    side: dict[str, Any] = document["sides"]["fanwise"]
    return side


async def look(live: Live, path: str = "/demo", **headers: str) -> dict[str, Any]:
    answer = await live.request("GET", path, headers=headers)
    assert answer.status == 200
    DemoInfo.model_validate(answer.json)
    found: dict[str, Any] = answer.json
    return found


@pytest.mark.anyio
async def test_a_demo_is_looked_at_started_joined_and_stopped() -> None:
    """What is played is told, until nothing is."""
    async with staged(max_clients=40) as here:
        nothing = {"available": True, "why": None, "max_clients": 20, "status": None}
        assert await look(here.live) == nothing
        answer = await put(here.live, PLAN | {"rate": 100})
        assert answer.status == 200
        DemoStatus.model_validate(answer.json)
        assert (answer.json["rate"], answer.json["size"], flowing(answer.json)["published"]) == (100, 64, 0)
        await here.told.where(lambda told: flowing(told)["published"] > 5)
        assert flowing((await look(here.live))["status"])["published"] > 5
        answer = await put(here.live, {"clients": 20})
        assert (len(flowing(answer.json)["clients"]), answer.json["rate"]) == (2, 100)
        for _ in range(2):
            assert (await here.live.request("DELETE", "/demo")).status == 204
            assert await look(here.live) == nothing


@pytest.mark.anyio
async def test_no_number_need_be_given() -> None:
    """Defaults are within what the server allows."""
    async with staged(max_clients=9, broadcaster=Node(max_message_bytes=1000)) as here:
        answer = await put(here.live, {})
        assert (len(flowing(answer.json)["clients"]), answer.json["size"]) == (3, 1000)


@pytest.mark.anyio
async def test_it_works_under_a_prefix() -> None:
    """The simulated clients connect where the other routes are."""
    async with staged(prefix="/some/where") as here:
        assert (await put(here.live, PLAN, path="/some/where/demo")).status == 200
        await here.told.reached("calm")


@pytest.mark.anyio
async def test_a_browser_that_opens_the_address_gets_a_page() -> None:
    """Scripts and programs get the JSON, and caches keep the two apart; where there is no page, all get the JSON."""
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    async with running(create_app(load_settings(demo_clients=8, api_key="correct-horse"))) as live:
        page = await live.request("GET", "/demo", headers=browser)
        assert (page.status, page.headers["vary"]) == (200, "Accept")
        assert page.headers["content-type"].startswith("text/html")
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert b'<body class="alone' in page.body
        for accept in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
            answer = await live.request("GET", "/demo", headers=accept)
            assert (answer.json["max_clients"], answer.headers["vary"]) == (4, "Accept")
    async with staged() as here:
        assert (await look(here.live, **browser))["available"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("plan", "word"),
    [
        (PLAN | {"mode": "fanwise"}, "mode"),
        (PLAN | {"clients": 11}, "10"),
        (PLAN | {"clients": 1}, "clients"),
        (PLAN | {"rate": 201}, "rate"),
        (PLAN | {"size": 1001}, "1000"),
        (PLAN | {"speed": 3}, "speed"),
        ([], "the body: Input should be an object"),
    ],
)
async def test_what_is_out_of_bounds_is_refused(plan: object, word: str) -> None:
    """With a sentence that names it, and nothing runs."""
    async with staged(max_clients=20, broadcaster=Node(max_message_bytes=1000)) as here:
        answer = await put(here.live, plan)
        assert (answer.status, answer.code) == (400, "bad_request")
        assert word in answer.json["error"]["message"]
        assert here.demo.status() is None


@pytest.mark.anyio
async def test_it_is_for_those_on_this_machine() -> None:
    """A request that was passed on is not from here, unless the demo is offered to all."""
    passed_on = {"X-Forwarded-For": "192.0.2.7"}
    async with staged() as here:
        found = await look(here.live, **passed_on)
        assert (found["available"], "--demo" in found["why"]) == (False, True)
        answer = await put(here.live, PLAN, **passed_on)
        assert (answer.status, answer.code, "--demo" in answer.json["error"]["message"]) == (403, "no_demo", True)
        assert "a proxy has passed this request on" in found["why"]
        assert here.demo.status() is None
    async with staged(everybody=True) as here:
        assert (await look(here.live, **passed_on))["available"]
        assert (await put(here.live, PLAN, **passed_on)).status == 200


@pytest.mark.anyio
async def test_a_server_may_have_none() -> None:
    """Then it says so, to everybody."""
    async with staged(max_clients=0, everybody=True) as here:
        assert (await look(here.live))["available"] is False
        assert (await put(here.live, PLAN)).code == "no_demo"


@pytest.mark.anyio
async def test_several_workers_have_none() -> None:
    """Clients could reach any of them."""
    async with staged(workers=2) as here:
        found = await look(here.live)
        assert (found["available"], "--workers 1" in found["why"]) == (False, True)
        assert (await put(here.live, PLAN)).code == "no_demo"


@pytest.mark.anyio
async def test_starting_and_stopping_ask_for_the_key() -> None:
    """Looking does not; pages of other hosts may do neither."""
    async with staged(access=Access(api_key="correct-horse")) as here:
        assert (await look(here.live))["available"]
        assert (await put(here.live, PLAN)).code == "unauthorised"
        assert (await here.live.request("DELETE", "/demo")).code == "unauthorised"
        key = {"X-API-Key": "correct-horse"}
        for method in ("GET", "PUT", "DELETE"):
            headers = {"Origin": "http://evil.com", "Content-Type": "application/json"} | key
            answer = await here.live.request(method, "/demo", json.dumps(PLAN).encode(), headers=headers)
            assert answer.code == "bad_origin"
        assert here.demo.status() is None
        assert (await put(here.live, PLAN, **key)).status == 200
        await here.told.reached("calm")
        assert (await here.live.request("DELETE", "/demo", headers=key)).status == 204


@pytest.mark.anyio
async def test_the_tutorial_loop_is_for_the_demos_own_clients() -> None:
    """Nobody else gets in, whatever runs."""
    async with staged() as here:
        await put(here.live, PLAN)
        for path in ("/demo/tutorial", "/demo/tutorial?token=x"):
            with pytest.raises(InvalidStatus) as caught:
                await here.live.connect(path)
            assert caught.value.response.status_code == 403


@pytest.mark.anyio
async def test_a_draining_server_starts_none() -> None:
    """Come back later."""
    async with staged() as here:
        here.broadcaster.draining = True
        assert (await put(here.live, PLAN)).code == "draining"


@pytest.mark.anyio
async def test_the_whole_server_has_it() -> None:
    """As the settings say; whoever watches is told on the live stream how it goes, and that it has ended."""
    async with running(create_app(load_settings(demo_clients=14, demo=True))) as live:
        found = await look(live, **{"X-Forwarded-For": "192.0.2.7"})
        assert (found["available"], found["max_clients"]) == (True, 7)
        async with await live.talk(path="/live") as talk:
            await talk.ask(op="subscribe", channel="demo")
            assert (await put(live, PLAN)).status == 200
            while flowing((heard := await talk.hear())["data"])["published"] < 5:
                DemoStatus.model_validate(heard["data"])
            await live.request("DELETE", "/demo")
            while (heard := await talk.hear())["data"]["running"]:
                continue
        assert (await look(live))["status"] is None
    async with running(create_app(load_settings())) as live:
        found = await look(live)
        assert (found["available"], found["max_clients"]) == (True, 100)
        assert not (await look(live, **{"X-Forwarded-For": "192.0.2.7"}))["available"]


def test_a_server_that_is_told_to_stop_stops(server_process: Callable[..., ServerProcess]) -> None:
    """Draining does not wait for simulated clients that do not read, however patient it is."""
    process = server_process(
        "-m", "fanwise", "serve", "--port", "{port}", FANWISE_DRAIN_SECONDS="100", FANWISE_STALL_SECONDS="100"
    )
    body = json.dumps({"clients": 5, "rate": 200}).encode()
    fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close"
    head = f"Host: 127.0.0.1\r\n{fields}\r\n\r\n"
    assert b" 200 OK" in process.exchange(f"PUT /demo HTTP/1.1\r\n{head}".encode() + body)
    while True:
        status = json.loads(process.get("/demo").partition(b"\r\n\r\n")[2])["status"]
        if status["sides"]["tutorial"]["publishing_seconds"] > 0.2:
            break
    assert process.stop(within_seconds=30) == 0
    assert "Traceback" not in process.log
