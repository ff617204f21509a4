"""The application: the one place that sees everything and puts it together, bottom-up."""

from __future__ import annotations

from fastapi import FastAPI

from .embedding import FastAPIBroadcaster
from .routes import build_router
from .settings import Settings, load_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """A FastAPI application that is a whole Fanwise server.

    Args:
        settings: By default what the environment and `.env` say.

    Raises:
        SettingsError: The environment says something that cannot be used.
    """
    settings = settings or load_settings()
    broadcaster = FastAPIBroadcaster(
        queue_messages=settings.queue_messages,
        queue_bytes=settings.queue_bytes,
        history_messages=settings.history_messages,
        history_bytes=settings.history_bytes,
        history_seconds=settings.history_seconds,
        max_message_bytes=settings.max_message_bytes,
        max_clients=settings.max_clients,
        slice_bytes=settings.slice_bytes,
        sweep_seconds=settings.sweep_seconds,
        close_seconds=settings.close_seconds,
        overflow=settings.overflow,
        stall_seconds=settings.stall_seconds,
        memory_bytes=settings.memory_bytes,
    )
    app = FastAPI(title="Fanwise")
    app.state.broadcaster = broadcaster
    app.include_router(
        build_router(
            broadcaster,
            default_channel=settings.default_channel,
            template=settings.template,
            lifespan=broadcaster.lifespan,
        )
    )
    return app


def __getattr__(name: str) -> FastAPI:
    """`server.app:app`, made when a server asks for it, so that importing this module reads no environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app = globals()["app"] = create_app()
    return app
