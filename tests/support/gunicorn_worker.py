"""The worker of gunicorn in docs/operations/scaling.md."""

from __future__ import annotations

from typing import Any, ClassVar

from uvicorn_worker import UvicornWorker


class Worker(UvicornWorker):  # type: ignore[misc]
    """uvicorn with our protocol classes."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "auto",
        "ws": "fanwise.protocol:FanwiseProtocol",
        "http": "fanwise.protocol:FanwiseHttpProtocol",
        "ws_per_message_deflate": False,
        "proxy_headers": False,
    }
