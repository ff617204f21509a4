"""All settings: from flags, `FANWISE_*` variables, `.env` and a file of TOML, in this order.

Read by `app`, `serve` and `cli` only.
"""

from __future__ import annotations

import difflib
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, cast

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, TomlConfigSettingsSource
from pydantic_settings import PydanticBaseSettingsSource as Source

from .backplane.options import Options
from .backplane.urls import shown
from .core.deflate import HIGHEST_LEVEL
from .core.filters import ADDRESS_FILTERS
from .core.namespaces import Defaults, Namespaces
from .core.options import ChannelOptions, read_channels
from .core.publication import check_channel_name
from .core.queue import Overflow
from .errors import SettingsError
from .routes.auth.settings import SECRET as SECRET_OF_ACCESS
from .routes.auth.settings import AccessSettings, Listed
from .routes.websocket import DEFAULT_CHANNEL, DEFAULT_TEMPLATE, split_template
from .tools.toml_file import read_toml, unknown_keys
from .transport.limits import Limits
from .transport.places import PlaceLimits
from .transport.proxies import TrustedProxies
from .transport.sockets import UNSENT_BYTES
from .transport.sweep_writer import Mode

PREFIX = "FANWISE_"
ENV_FILE = ".env"
OF_CLIENTS = "FANWISE_TOKEN"  # that `fanwise publish` and `fanwise subscribe` read
PLACES, LIMITS, ENGINE = PlaceLimits(), Limits(), Options()
SECRET = SECRET_OF_ACCESS | {"backplane"}  # fields that are shown nowhere
_ENGINE_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_SHOWN_CHARACTERS = 200  # of a value that cannot be used

Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


Channels = Annotated[dict[str, ChannelOptions], NoDecode, BeforeValidator(read_channels)]


class ServerSettings(BaseSettings):
    """All settings but those of access."""

    config: str | None = Field(None, description="file of TOML with settings and options of channels; by default none")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    uds: str | None = Field(None, description="path of a Unix socket to listen on, in place of host and port")
    fd: Annotated[int, Field(ge=3)] | None = Field(
        None, description="descriptor of a socket to listen on, such as 3 under a systemd socket unit"
    )
    root_path: str = Field("", description="prefix of all paths that a proxy leaves in place or takes away")
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        1, description="worker processes; without a backplane they get a private engine"
    )
    engine: str | None = Field(
        None, description="program of the private engine; by default valkey-server or redis-server in PATH"
    )
    default_channel: str = Field(DEFAULT_CHANNEL, description="channel of /ws without ?channel=")
    template: str = Field(DEFAULT_TEMPLATE, description="text of each publication of /ws; contains {text} once")
    queue_messages: Positive = Field(1024, description="publications a client may be behind")
    queue_bytes: Positive = Field(1_048_576, description="payload bytes a client may be behind")
    forgive_seconds: Seconds | None = Field(
        None, description="age of the oldest publication that a client has not got; by default unlimited"
    )
    overflow: Literal["disconnect", "drop_oldest", "latest"] = Field(
        "disconnect", description="policy for a client that is further behind"
    )
    stall_seconds: Seconds = Field(10.0, description="longest time without progress while data waits for a connection")
    ping_seconds: Seconds = Field(15.0, description="time between two pings of an idle connection")
    pong_seconds: Seconds = Field(8.0, description="longest time between a ping and its pong")
    memory_bytes: Positive = Field(1_073_741_824, description="memory of all logs and transports together, about")
    socket_unsent_bytes: Positive = Field(UNSENT_BYTES, description="TCP_NOTSENT_LOWAT: unsent bytes in the kernel")
    socket_send_buffer_bytes: Positive | None = Field(None, description="SO_SNDBUF; by default the kernel's own")
    drain_seconds: Annotated[float, Field(ge=0)] = Field(
        5.0, description="longest time in which clients leave before a stop"
    )
    history_messages: Positive = Field(1000, description="publications a channel's log retains, at least")
    history_bytes: Positive = Field(4_194_304, description="payload bytes a channel's log retains, at least")
    history_seconds: Seconds = Field(300.0, description="time for which publications and idle channels are kept")
    max_message_bytes: Positive = Field(65_536, description="largest message, in bytes, as it is published")
    max_clients: Positive = Field(100_000, description="largest number of clients")
    address_connections: Positive = Field(
        PLACES.address_connections, description="connections of one address, or of one IPv6 /64"
    )
    address_connects_per_second: Positive = Field(
        PLACES.address_connects_per_second, description="new connections of one address; ten seconds of it at once"
    )
    connects_per_second: Positive = Field(
        PLACES.connects_per_second, description="new connections of all addresses; ten seconds of it at once"
    )
    address_publishes_per_second: Positive = Field(
        PLACES.address_publishes_per_second,
        description="publications of one address over HTTP; ten seconds of it at once",
    )
    address_tokens_per_second: Positive = Field(
        PLACES.address_tokens_per_second,
        description="tokens of one address whose signatures are verified; ten seconds of it at once",
    )
    address_filters: Positive = Field(ADDRESS_FILTERS, le=100, description="filters of one address on a channel")
    max_channels: Positive = Field(100_000, description="largest number of open channels; idle ones make room")
    channels: Channels = Field(
        {}, description="options of channels, in JSON: an object for each pattern, of which the first match wins"
    )
    max_subscriptions: Positive = Field(100, description="channels that one connection may be on")
    trusted_proxies: Listed = Field(
        (),
        description="addresses of proxies whose X-Forwarded-For is believed; unix is whoever connects to a Unix socket",
    )
    demo: bool = Field(default=False, description="offer the page's demo also on an address that others reach")
    demo_clients: Positive = Field(200, le=1000, description="simulated clients that the demo may open")
    ready_lag_seconds: Seconds = Field(1.0, description="delay of the event loop above which /readyz answers 503")
    open: bool = Field(default=False, description="let everybody publish, also on an address that others reach")
    slice_bytes: Positive = Field(262_144, description="payload bytes that one write of a sweep carries, about")
    sweep_seconds: Seconds = Field(0.003, le=1, description="longest time for which a sweep holds the event loop")
    sweep: Mode = Field("auto", description="how sweeps write: uring, write, or auto for io_uring where it works")
    compress_from_bytes: Positive | None = Field(
        None, description="least payload compressed, once for all clients with permessage-deflate; by default none"
    )
    compress_level: Annotated[int, Field(ge=1, le=HIGHEST_LEVEL)] = Field(
        1, description="compression: 1 is the fastest, 3 the smallest"
    )
    close_seconds: Seconds = Field(5.0, description="longest time of the closing handshake")
    rate_limits: bool = Field(
        default=LIMITS.rates, description="pace what a connection sends; no is for benchmarks on loopback"
    )
    messages_per_second: Positive = Field(
        LIMITS.messages_per_second, description="WebSocket frames that one connection may send"
    )
    received_bytes_per_second: Annotated[int, Field(ge=65_536)] = Field(
        LIMITS.bytes_per_second, description="bytes that one connection may send"
    )
    control_frames_per_second: Annotated[int, Field(ge=10)] = Field(
        LIMITS.control_frames_per_second, description="pings, pongs and empty fragments that one connection may send"
    )
    publishes_per_second: Positive = Field(
        LIMITS.publishes_per_second, description="publications that one connection may make"
    )
    subscriptions_per_second: Positive = Field(
        LIMITS.subscriptions_per_second, description="subscribe and unsubscribe operations that one connection may send"
    )
    max_fragments: Annotated[int, Field(ge=2)] = Field(
        LIMITS.fragments, description="fragments of one WebSocket message"
    )
    message_seconds: Seconds = Field(
        LIMITS.message_seconds, description="longest time between the first and last byte of a WebSocket message"
    )
    max_head_bytes: Annotated[int, Field(ge=1_024, le=65_536)] = Field(
        LIMITS.head_bytes, description="largest head of a request, in bytes"
    )
    max_headers: Annotated[int, Field(ge=20, le=1_000)] = Field(
        LIMITS.headers, description="header fields of a request"
    )
    head_seconds: Seconds = Field(LIMITS.head_seconds, description="longest time of the head of a request")
    body_seconds: Seconds = Field(LIMITS.body_seconds, description="longest time for each 1,024 bytes of a body")
    ssl_certfile: str | None = Field(None, description="certificate chain (PEM): serve TLS")
    ssl_keyfile: str | None = Field(None, description="private key (PEM)")
    backplane: SecretStr | None = Field(
        None,
        description="URL of the engine behind several servers; several with spaces between are shards; by default none",
    )
    backplane_prefix: str = Field(ENGINE.prefix, description="prefix of all keys and channels in the engine")
    backplane_replicas: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="replicas that have an acknowledged publication; by default 1 with Sentinel or a NATS cluster",
    )
    backplane_durable: bool = Field(
        default=ENGINE.durable, description="the engine keeps what it has acknowledged over its restarts"
    )
    backplane_live_bytes: Annotated[int, Field(ge=65_536)] = Field(
        ENGINE.live_bytes, description="bytes of publications that the engine keeps for servers that are behind"
    )
    publish_seconds: Seconds = Field(
        ENGINE.publish_seconds, description="longest time that a publication waits for the engine"
    )
    trace: str | None = Field(
        None, description="file that a trace is written to from the start on, 256 MiB at most; by default none"
    )
    otel: bool = Field(
        default=False, description="export spans of publications to where the OTEL_* variables say; takes fanwise[otel]"
    )
    loop: Literal["auto", "uvloop", "asyncio"] = Field("auto", description="event loop; auto takes uvloop if it can")
    log_level: Literal["critical", "error", "warning", "info", "debug"] = Field(
        "info", description="least level logged"
    )
    log_format: Literal["text", "json"] = Field("text", description="format of a line of the log")
    log_config: str | None = Field(
        None, description="file in place of level and format, for logging.config: .json, .yaml or .ini"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: Source,
        env_settings: Source,
        dotenv_settings: Source,
        file_secret_settings: Source,
    ) -> tuple[Source, ...]:
        """Adds the file of TOML that `model_config` names."""
        more = (file_secret_settings, TomlConfigSettingsSource(settings_cls))
        return init_settings, env_settings, dotenv_settings, *more

    @field_validator("default_channel")
    @classmethod
    def _name_is_allowed(cls, name: str) -> str:
        return check_channel_name(name)

    @field_validator("root_path")
    @classmethod
    def _prefix_is_a_path(cls, path: str) -> str:
        if path and (not path.startswith("/") or path.endswith("/")):
            raise ValueError("a prefix looks like /live, with a slash before it and none behind it")
        return path

    @field_validator("log_config")
    @classmethod
    def _log_config_is_a_file(cls, path: str | None) -> str | None:
        if path is not None and not (path.endswith((".json", ".yaml", ".yml", ".ini")) and Path(path).is_file()):
            raise ValueError("it takes a file that is there, whose name ends with .json, .yaml, .yml or .ini")
        return path

    @field_validator("trace")
    @classmethod
    def _trace_can_be_written(cls, path: str | None) -> str | None:
        if path is not None and (Path(path).is_dir() or not os.access(Path(path).parent, os.W_OK)):
            raise ValueError("it takes a file in a directory that exists and can be written to")
        return path

    @field_validator("template")
    @classmethod
    def _template_has_text(cls, template: str) -> str:
        split_template(template)
        return template

    @field_validator("backplane")
    @classmethod
    def _urls_lead_to_engines(cls, urls: SecretStr | None) -> SecretStr | None:
        if urls is None or not urls.get_secret_value():
            return None
        shown(urls.get_secret_value())
        return urls

    @field_validator("backplane_prefix")
    @classmethod
    def _prefix_fits_into_keys(cls, prefix: str) -> str:
        if _ENGINE_PREFIX.fullmatch(prefix) is None:
            raise ValueError("a prefix takes 1 to 64 characters of A-Z a-z 0-9 . _ : -")
        return prefix

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_addresses(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        TrustedProxies(proxies)
        return proxies

    @model_validator(mode="after")
    def _certificate_can_be_used(self) -> ServerSettings:
        if self.ssl_certfile is None and self.ssl_keyfile is not None:
            raise ValueError(f"{variable('ssl_keyfile')} needs {variable('ssl_certfile')} beside it")
        if self.ssl_certfile is not None:
            files = f"ssl_certfile={self.ssl_certfile!r}, ssl_keyfile={self.ssl_keyfile!r}"
            try:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile, password="")  # nobody is asked
            except OSError as error:  # ssl.SSLError is one
                raise ValueError(
                    f"{files}: they cannot be used ({error}): {variable('ssl_certfile')} takes a chain of certificates "
                    f"and {variable('ssl_keyfile')} its key, both PEM and without a passphrase"
                ) from error
        return self

    @model_validator(mode="after")
    def _one_channel_fits(self) -> ServerSettings:
        least = 2 * max(self.history_bytes, self.queue_bytes)
        if self.memory_bytes < least:
            raise ValueError(
                f"memory_bytes={self.memory_bytes} is less than the {least} that one channel may retain: raise "
                f"{variable('memory_bytes')} or lower {variable('history_bytes')} and {variable('queue_bytes')}"
            )
        return self

    @model_validator(mode="after")
    def _options_fit(self) -> ServerSettings:
        defaults = Defaults(**self.model_dump(include=set(Defaults._fields)) | {"overflow": Overflow(self.overflow)})
        if table := Namespaces(self.channels, defaults):
            table.check(memory_bytes=self.memory_bytes, max_message_bytes=self.max_message_bytes)
        return self

    @model_validator(mode="after")
    def _one_message_fits(self) -> ServerSettings:
        if self.max_message_bytes > self.queue_bytes:
            raise ValueError(
                f"max_message_bytes={self.max_message_bytes} does not fit into queue_bytes={self.queue_bytes}: "
                f"raise {variable('queue_bytes')} or lower {variable('max_message_bytes')}"
            )
        return self


class Settings(AccessSettings, ServerSettings):
    """The settings; each description is a help text and a row of the documentation."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=ENV_FILE, extra="ignore", frozen=True)


def variable(field: str) -> str:
    """The environment variable of a field: "FANWISE_QUEUE_BYTES" for "queue_bytes"."""
    return PREFIX + field.upper()


def flag(field: str) -> str:
    """The command-line flag of a field: "--queue-bytes" for "queue_bytes"."""
    return "--" + field.replace("_", "-")


def load_settings(**flags: object) -> Settings:
    """The settings in force: `flags` that are not None, the environment, `.env`, the file of TOML, then the defaults.

    Raises:
        SettingsError: A value is out of range, the file cannot be read, or a variable or a key of the file does not
            exist; names them all.
    """
    problems = _unknown_variables()
    given = {field: value for field, value in flags.items() if value is not None}
    path, found = _config_path(flags), sources(**flags)
    kind: type[Settings] = Settings
    if path is not None:
        config = SettingsConfigDict(toml_file=path)
        kind = cast("type[Settings]", type("Settings", (Settings,), {"model_config": config, "__module__": __name__}))
        problems += unknown_keys(_read_config(path), Settings.model_fields.keys() - {"config"}, path=path)
    try:
        settings = kind(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        for detail in error.errors():
            field = str(detail["loc"][0]) if detail["loc"] else ""
            value = "not allowed" if field in SECRET else repr(detail["input"])
            if len(value) > _SHOWN_CHARACTERS:
                value = f"{value[:_SHOWN_CHARACTERS]}..."
            name = f"{field} in {path}" if found.get(field) == path else f"{variable(field)} ({flag(field)})"
            problem = detail["msg"].removeprefix("Value error, ")
            problems.append(f"{name} is {value}: {problem}" if field else problem)
        raise SettingsError(problems) from error
    if problems:
        raise SettingsError(problems)
    return settings


def sources(**flags: object) -> dict[str, str]:
    """{setting: where `load_settings` finds the value}: "flag", "environment", ".env", a file's path, or "default".

    Raises:
        SettingsError: The file cannot be read.
    """
    path = _config_path(flags)
    places = (
        ("flag", {variable(field) for field, value in flags.items() if value is not None}),
        ("environment", {name.upper() for name in os.environ}),
        (ENV_FILE, {name.upper() for name, value in dotenv_values(ENV_FILE).items() if value is not None}),
        (path or "", set() if path is None else {variable(key) for key in _read_config(path)}),
        ("default", {variable(field) for field in Settings.model_fields}),
    )
    return {
        field: next(place for place, names in places if variable(field) in names) for field in Settings.model_fields
    }


def _config_path(flags: Mapping[str, object]) -> str | None:
    """Returns the path of the file of TOML; None if there is none."""
    told = {key.upper(): value for key, value in (*dotenv_values(ENV_FILE).items(), *os.environ.items())}
    path = flags.get("config") or told.get(variable("config"))
    return str(path) if path else None


def _read_config(path: str) -> dict[str, object]:
    return read_toml(path, named=f"{variable('config')} ({flag('config')})")


def _unknown_variables() -> list[str]:
    known = {variable(field) for field in Settings.model_fields} | {OF_CLIENTS}
    found = {name.upper() for name in (*os.environ, *dotenv_values(ENV_FILE)) if name.upper().startswith(PREFIX)}
    problems = []
    for name in sorted(found - known):
        close = difflib.get_close_matches(name.removeprefix(PREFIX).lower(), Settings.model_fields, n=1)
        hint = f"did you mean {variable(close[0])}?" if close else f"known are {', '.join(sorted(known))}"
        problems.append(f"{name} is not a setting: {hint}")
    return problems
