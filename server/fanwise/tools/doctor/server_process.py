"""The server that is started to be looked at: `fanwise serve` with the settings in force, on a port of its own."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..local_server import HOST, PORT, LocalServer, running
from ..remote import Remote, RemoteError

_SERVE = ("-m", "fanwise", "serve", "--host", HOST, "--port", PORT, "--allowed-hosts", HOST, "--drain-seconds", "0")
_ALONE = (
    "--workers",
    "1",
    "--backplane",
    "",
)  # a worker more would be measured, and the fleet would hear of the checks
_ROOM = ("--max-clients", "100", "--max-channels", "100")  # for the checks, however little room the settings leave


@contextmanager
def hosting(environ: Mapping[str, str], *, api_key: str | None, secure: bool) -> Iterator[Remote]:
    """Runs a server with the variables `environ` beside those of this process while the context lasts.

    Yields when the server answers.

    Raises:
        NotStartedError: The server does not answer.
    """
    context = _trusting() if secure else None

    def remote(server: LocalServer) -> Remote:
        return Remote(server.url("https" if secure else "http"), api_key=api_key, context=context)

    def not_ready(server: LocalServer) -> str | None:
        try:
            ours = remote(server).stats()["server"]["pid"] == server.pid
        except RemoteError as error:
            return str(error)
        return None if ours else "another server was faster with the port"

    with running((*_SERVE, *_ALONE, *_ROOM), environ=environ, not_ready=not_ready) as server:
        yield remote(server)


def _trusting() -> ssl.SSLContext:
    """Takes any certificate: the process is our own, and its certificate is for another name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
