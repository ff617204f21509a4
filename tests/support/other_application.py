"""`python -m tests.support.other_application PORT`: an application around ours, with our log and a failing thread."""

from __future__ import annotations

import sys
import threading

import uvicorn
from starlette.types import Receive, Scope, Send

from fanwise.app import create_app
from fanwise.logs import log_config, take_over

app = create_app()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        threading.Thread(target=list[int]().pop).start()
    await app(scope, receive, send)


if __name__ == "__main__":
    take_over()
    uvicorn.run(application, port=int(sys.argv[1]), log_config=log_config("info", "json"))
