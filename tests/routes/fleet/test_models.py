from __future__ import annotations

import pytest

from fanwise.routes.fleet.models import FleetStats

from .conftest import Workers

pytestmark = pytest.mark.anyio


async def test_the_document_is_what_its_model_says(workers: Workers) -> None:
    """Nothing missing and nothing more; OpenAPI has the models where there is a backplane."""
    here = workers.lives[0]
    async with await here.talk() as talk, await workers.lives[1].talk() as gone:
        await talk.ask(op="subscribe", channel="a")
        await workers.nodes[0].publish("a", "x")
        await here.request("DELETE", f"/clients/{gone.welcome['client']}")
        answer = await here.request("GET", "/stats?scope=all")
        assert FleetStats.model_validate_json(answer.body, strict=True).model_dump(mode="json") == answer.json
        assert len(answer.json["closed_clients"]) == 1
        schema = (await here.request("GET", "/openapi.json")).json
        assert {"FleetStats", "FleetClients", "FleetChannels"} <= schema["components"]["schemas"].keys()
