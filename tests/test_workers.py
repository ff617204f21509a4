from __future__ import annotations

from collections.abc import Callable

import pytest

from fanwise.embedding import worker_count

from .support.processes import ServerProcess


@pytest.mark.parametrize(
    ("argv", "environ", "count"),
    [
        (["uvicorn", "app"], {}, 1),
        (["uvicorn", "app", "--workers", "4"], {}, 4),
        (["uvicorn", "--workers=3", "app"], {"WEB_CONCURRENCY": "2"}, 3),
        (["uvicorn", "app"], {"WEB_CONCURRENCY": "2"}, 2),
        (["uvicorn", "app"], {"UVICORN_WORKERS": "5"}, 5),
        (["uvicorn", "app", "--workers"], {"WEB_CONCURRENCY": "many"}, 1),
    ],
)
def test_how_many_workers_were_asked_for(argv: list[str], environ: dict[str, str], count: int) -> None:
    """Flags win over the environment; nonsense is uvicorn's to refuse."""
    assert worker_count(argv, environ) == count


@pytest.mark.parametrize(("flags", "warned"), [([], False), (["--workers", "2"], True)], ids=["one", "two"])
def test_a_worker_among_others_says_so(
    server_process: Callable[..., ServerProcess], flags: list[str], warned: bool
) -> None:
    """As an error in the log, in each of them, when it starts."""
    server = server_process("-m", "uvicorn", "fanwise.app:app", "--port", "{port}", *flags)
    server.wait_for_log("Application startup complete")
    assert ("each reaches only its own clients" in server.log) == warned
