"""The application: the one place that sees everything and puts it together, bottom-up."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from .embedding import Broadcaster
from .routes.auth.guards import Access
from .routes.router import build_router
from .settings import Settings, load_settings
from .version import SERVER_VERSION

DESCRIPTION = """A WebSocket fan-out server. WebSockets are described by [AsyncAPI](asyncapi.json)."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """A FastAPI application that is a whole Fanwise server.

    Args:
        settings: By default what the environment and `.env` say.

    Raises:
        SettingsError: The environment says something that cannot be used.
    """
    settings = settings or load_settings()
    broadcaster = Broadcaster(
        queue_messages=settings.queue_messages,
        queue_bytes=settings.queue_bytes,
        history_messages=settings.history_messages,
        history_bytes=settings.history_bytes,
        history_seconds=settings.history_seconds,
        max_message_bytes=settings.max_message_bytes,
        max_clients=settings.max_clients,
        max_channels=settings.max_channels,
        slice_bytes=settings.slice_bytes,
        sweep_seconds=settings.sweep_seconds,
        close_seconds=settings.close_seconds,
        overflow=settings.overflow,
        stall_seconds=settings.stall_seconds,
        memory_bytes=settings.memory_bytes,
        ready_lag_seconds=settings.ready_lag_seconds,
    )
    app = FastAPI(title="Fanwise", version=SERVER_VERSION, description=DESCRIPTION)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.allowed_origins, allow_methods=["*"], allow_headers=["*"]
        )
    api_key = settings.api_key.get_secret_value() if settings.api_key is not None else None
    app.state.broadcaster = broadcaster
    app.include_router(
        build_router(
            broadcaster,
            default_channel=settings.default_channel,
            template=settings.template,
            max_subscriptions=settings.max_subscriptions,
            heartbeat_seconds=settings.ping_seconds,
            demo_clients=settings.demo_clients,
            demo_everybody=settings.demo,
            access=Access(api_key=api_key, allowed_origins=settings.allowed_origins),
            page=True,
            lifespan=broadcaster.lifespan,
        )
    )
    return app


def __getattr__(name: str) -> FastAPI:
    """`fanwise.app:app`, made when a server asks for it, so that importing this module reads no environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app = globals()["app"] = create_app()
    return app
