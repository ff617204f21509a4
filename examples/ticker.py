"""A ticker: a plan says which exchanges a customer may read; nobody but the server publishes."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.requests import HTTPConnection

from fanwise import Broadcaster

PLANS = {"key-of-a-free-plan": ["paris"], "key-of-a-full-plan": ["paris", "tokyo"]}  # {key: exchanges}
prices = {("paris", "AIR"): 180.0, ("paris", "OR"): 390.0, ("tokyo", "SONY"): 3900.0}
broadcaster = Broadcaster(overflow="latest")  # a slow customer gets the newest price of each symbol


async def publish_prices() -> None:
    """Publishes prices that wander, in place of those of an exchange."""
    while True:
        for (exchange, symbol), price in prices.items():
            prices[exchange, symbol] = new = round(price * random.uniform(0.99, 1.01), 2)
            await broadcaster.publish(f"ticker.{exchange}", {symbol: new}, key=symbol, tags={"symbol": symbol})
        await asyncio.sleep(0.25)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    async with broadcaster.lifespan(app):
        feed = asyncio.create_task(publish_prices())
        yield
        feed.cancel()


def exchanges(connection: HTTPConnection) -> list[str]:
    """Returns the exchanges of a customer's plan, whose key comes in a header: URLs are logged."""
    if (key := connection.headers.get("x-api-key", "")) in PLANS:
        return PLANS[key]
    raise HTTPException(401, "this asks for the key of a plan: X-API-Key")


Plan = Annotated[list[str], Depends(exchanges)]
app = FastAPI(lifespan=lifespan)


@app.websocket("/ws")
async def listen(websocket: WebSocket, plan: Plan) -> None:
    await broadcaster.serve(websocket, channels=[f"ticker.{exchange}" for exchange in plan], may_publish=False)


@app.get("/plan")
async def plan_of(plan: Plan) -> list[str]:
    return plan


@app.get("/exchanges/{exchange}/events")
async def events(request: Request, exchange: str, plan: Plan) -> Response:
    return broadcaster.stream(request, f"ticker.{exchange}", may_subscribe=exchange in plan)
