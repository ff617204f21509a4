from __future__ import annotations

from collections.abc import Callable

import pytest

from fanwise.backplane.workers.siblings import worker_count

from ...support.processes import ServerProcess, run

SAYS = "each reaches only its own clients"
# As gunicorn, granian and hypercorn do: one listener, and several processes with one parent.
FORKS = """
import os, socket, sys, uvicorn
from fanwise.backplane.workers import siblings
from fanwise.backplane.workers.processes import end_with
siblings.LOOK_SECONDS = 0.2
parent = os.getpid()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
for _ in range(int(sys.argv[2])):
    if os.fork() == 0:
        end_with(parent)
        server = uvicorn.Server(uvicorn.Config("fanwise.app:app", lifespan="on"))
        server.run(sockets=[listener])
        os._exit(0)
print("forked", flush=True)
os.wait()
"""


CHILDREN = """
import os, signal, socket, sys
from fanwise.backplane.workers.processes import end_with
from fanwise.backplane.workers.siblings import listening_siblings
parent = os.getpid()
one, other = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
reader, writer = os.pipe()
sibling = os.fork()
if sibling == 0:
    end_with(parent)
    (other if sys.argv[1] == "same" else one).close()
    os.write(writer, b".")
    signal.pause()
if os.fork() == 0:
    other.close()
    os.read(reader, 1)
    print(listening_siblings(), flush=True)
    os._exit(0)
os.wait()
os.kill(sibling, signal.SIGKILL)
"""


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
    assert (SAYS in server.log) == warned


def test_siblings_are_found_by_what_they_do(server_process: Callable[..., ServerProcess]) -> None:
    """Whatever has started them, and whatever it was told how many."""
    server = server_process("-c", FORKS, "{port}", "2")
    server.wait_for_log(f"this is one of 2 worker processes: {SAYS}")
    assert "Set FANWISE_BACKPLANE" in server.log


@pytest.mark.parametrize(("listens", "count"), [("same", "2"), ("other", "1")])
def test_siblings_listen_on_one_port(listens: str, count: str) -> None:
    """Children of one parent that listen elsewhere are none."""
    assert run("-c", CHILDREN, listens).stdout.strip() == count
