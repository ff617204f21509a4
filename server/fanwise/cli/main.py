"""The command line: `fanwise`, or `python -m fanwise`."""

from __future__ import annotations

import click

from .bench import bench
from .config import config
from .doctor import doctor
from .publish import publish
from .serve import serve
from .subscribe import subscribe
from .top import top
from .trace import trace
from .tune import tune


@click.group()
@click.version_option(package_name="fanwise")
def main() -> None:
    """Fanwise: a WebSocket fan-out server. Flags win over FANWISE_* variables, those over a .env file."""


for command in (serve, config, publish, subscribe, bench, doctor, top, trace, tune):
    main.add_command(command)
