"""The application: the one place that sees everything and puts it together, bottom-up."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from pydantic import SecretStr
from starlette.middleware.cors import CORSMiddleware

from .broadcaster.tracing.opening import NEEDED, Tracing
from .core.addresses import is_loopback
from .embedding import Broadcaster
from .errors import SettingsError
from .routes.auth.credentials import TokenReader
from .routes.auth.guards import Access
from .routes.auth.hosts import LOOPBACK
from .routes.description import OPENAPI, description_routes
from .routes.router import Lifespan, build_door, build_router
from .settings import Settings, load_settings
from .transport.door import Door
from .transport.limits import Limits
from .transport.proxies import ProxyHeaders, TrustedProxies
from .transport.sockets import SocketOptions
from .version import SERVER_VERSION

DESCRIPTION = """A WebSocket fan-out server. WebSockets are described by [AsyncAPI](asyncapi.json)."""
# Settings that the broadcaster, and the routes, take under the same name.
_OF_THE_BROADCASTER: Final = {
    "queue_messages",
    "queue_bytes",
    "forgive_seconds",
    "history_messages",
    "history_bytes",
    "history_seconds",
    "max_message_bytes",
    "max_clients",
    "max_channels",
    "address_filters",
    "slice_bytes",
    "sweep_seconds",
    "close_seconds",
    "overflow",
    "stall_seconds",
    "memory_bytes",
    "ready_lag_seconds",
    "sweep",
    "trace",
    "compress_from_bytes",
    "compress_level",
    "backplane_prefix",
    "backplane_replicas",
    "backplane_durable",
    "backplane_live_bytes",
    "publish_seconds",
}
_OF_THE_ROUTES: Final = {"default_channel", "template", "max_subscriptions", "demo_clients"}


def create_app(settings: Settings | None = None) -> FastAPI:
    """Returns a FastAPI application that is a whole Fanwise server.

    Args:
        settings: By default those of the environment and `.env`.

    Raises:
        SettingsError: A value of the environment cannot be used.
    """
    settings = settings or load_settings()
    backplane = settings.backplane.get_secret_value() if settings.backplane is not None else None
    bounds: dict[str, Any] = settings.model_dump(include=_OF_THE_BROADCASTER)
    bounds |= {"channels": settings.channels, "backplane": backplane}
    provider, end = tracing(otel=settings.otel)
    broadcaster = Broadcaster(**bounds, access=access(settings), tracing=provider)
    taken: dict[str, Any] = settings.model_dump(include=_OF_THE_ROUTES)
    router = build_router(
        broadcaster,
        heartbeat_seconds=settings.ping_seconds,
        pong_seconds=settings.pong_seconds,
        demo_everybody=settings.demo,
        demo_workers=settings.workers,
        access=broadcaster.access,
        page=True,
        lifespan=end(broadcaster.lifespan),
        **taken,
    )
    app = _application(settings, router)
    app.router.routes += router.routes  # FastAPI builds the routes of an included router twice
    if app.openapi_url is None:
        app.router.routes += description_routes(app, broadcaster, broadcaster.access).routes
    proxies = TrustedProxies(settings.trusted_proxies)
    _add_middleware(app, settings, proxies)
    app.state.broadcaster = broadcaster
    app.state.door = build_door(broadcaster, router, app.user_middleware, proxies)
    return app


def _application(settings: Settings, router: APIRouter) -> FastAPI:
    return FastAPI(
        title="Fanwise",
        version=SERVER_VERSION,
        description=DESCRIPTION,
        lifespan=router.lifespan_context,
        openapi_url=OPENAPI if settings.read == "open" else None,  # without it there is no /docs either
        root_path=settings.root_path,
    )


def door_of(app: FastAPI) -> Door | None:
    """Returns the door to those routes of `app` that are ours; None if middleware has to see their requests.

    Middleware that was added after `create_app` counts too. Ours waits for nothing: the door asks CORSMiddleware,
    and believes the proxies of ProxyHeaders.
    """
    door: Door = app.state.door
    return None if {one.cls for one in app.user_middleware} - {CORSMiddleware, ProxyHeaders} else door


def access(settings: Settings) -> Access:
    """Returns who may read, publish and operate, and which hosts and pages may connect.

    A server that listens on loopback answers for the names of loopback, unless the settings name hosts.

    Raises:
        SettingsError: There are no keys of tokens where the settings say.
    """
    hosts = settings.allowed_hosts or (LOOPBACK if is_local(settings) else ("*",))
    return Access(
        api_key=_shown(settings.api_key),
        allowed_origins=settings.allowed_origins,
        allowed_hosts=hosts,
        read=settings.read,
        tokens=tokens(settings),
        passed_on=settings.open,
    )


def tokens(settings: Settings) -> TokenReader | None:
    """Returns what reads tokens; None where the settings have no key for them.

    Raises:
        SettingsError: The key cannot be used, or the extra `auth` is not installed.
    """
    if not settings.takes_tokens:
        return None
    try:
        from .routes.auth.tokens import open_tokens  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SettingsError(["tokens need PyJWT: install fanwise[auth]"]) from error
    return open_tokens(
        key=_shown(settings.token_key),
        key_file=settings.token_key_file,
        jwks=settings.token_jwks,
        algorithms=settings.token_algorithms,
        audience=settings.token_audience,
        issuer=settings.token_issuer,
        leeway_seconds=settings.token_leeway_seconds,
    )


def tracing(*, otel: bool) -> tuple[Tracing, Callable[[Lifespan], Lifespan]]:
    """Returns what the broadcaster traces with, and what makes its lifespan one that exports what is left.

    Raises:
        SettingsError: The extra `otel` is not installed, or the OTEL_* variables name an exporter that is not.
    """
    if not otel:
        return False, lambda lifespan: lifespan
    try:
        from .broadcaster.tracing.exporting import exported, open_provider  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SettingsError([NEEDED]) from error
    provider = open_provider()
    if provider is None:  # the process has one, which is not ours to end
        return True, lambda lifespan: lifespan
    return provider, partial(exported, provider)


def _shown(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def is_local(settings: Settings) -> bool:
    """Returns whether programs of this machine alone reach the server: at a Unix socket, or an address of loopback."""
    if settings.uds is not None:
        return True
    if settings.fd is None:
        return is_loopback(settings.host)
    try:
        with socket.socket(fileno=os.dup(settings.fd)) as sock:
            name = sock.getsockname()
    except OSError:  # whoever listens says so
        return True
    return not isinstance(name, tuple) or is_loopback(name[0])


def socket_options(settings: Settings) -> SocketOptions:
    """Returns the options of each client's socket."""
    return SocketOptions(
        unsent_bytes=settings.socket_unsent_bytes,
        send_buffer_bytes=settings.socket_send_buffer_bytes,
    )


def limits(settings: Settings) -> Limits:
    """Returns what one connection may send."""
    return Limits(
        head_bytes=settings.max_head_bytes,
        headers=settings.max_headers,
        head_seconds=settings.head_seconds,
        body_seconds=settings.body_seconds,
        message_seconds=settings.message_seconds,
        fragments=settings.max_fragments,
        rates=settings.rate_limits,
        messages_per_second=settings.messages_per_second,
        bytes_per_second=settings.received_bytes_per_second,
        control_frames_per_second=settings.control_frames_per_second,
        publishes_per_second=settings.publishes_per_second,
        subscriptions_per_second=settings.subscriptions_per_second,
    )


def _add_middleware(app: FastAPI, settings: Settings, proxies: TrustedProxies) -> None:
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.allowed_origins, allow_methods=["*"], allow_headers=["*"]
        )
    if proxies:
        app.add_middleware(ProxyHeaders, trusted=proxies)


def __getattr__(name: str) -> FastAPI:
    """Makes `fanwise.app:app` when a server asks for it, so that importing this module reads no environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app = globals()["app"] = create_app()
    return app
