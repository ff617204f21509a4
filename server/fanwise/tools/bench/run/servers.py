"""The servers that `fanwise bench` starts: arguments of the Python interpreter."""

from __future__ import annotations

from typing import Final

from ...local_server import HOST, PORT

PATH: Final = "/ws?channel={channel}"  # where each of them is measured
FANWISE: Final = (
    *("-m", "fanwise", "serve", "--host", HOST, "--port", PORT, "--allowed-hosts", HOST, "--log-level", "warning"),
    *("--workers", "1"),  # whose CPU and memory are measured
    "--no-rate-limits",  # they would be measured in place of the server
)
_UVICORN = ("-m", "uvicorn", "--host", HOST, "--port", PORT, "--log-level", "warning")
BASELINES: Final = {  # {name: arguments}
    "tutorial": (*_UVICORN, "fanwise.tools.bench.run.baselines:tutorial"),
    "queue": (*_UVICORN, "fanwise.tools.bench.run.baselines:queue_and_task"),
}
