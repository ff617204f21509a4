from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from ..support.commands import run
from ..support.processes import ROOT, ServerProcess


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["publish", "a b", "x"], "channel name 'a b' is not allowed"),
        (["publish", "a", "x", "--api-key", "a b"], "API key"),
        (["publish", "a", "x", "--token", "@/none/such"], "cannot read '/none/such': No such file"),
        (["publish", "a", "x", "--token", "a b"], "the token must be printable ASCII"),
        (["publish", "a", "x", "--tag", "b"], "'b' must be TAG:VALUE"),
        (["publish", "a", "x", "--tag", "b:c", "--tag", "b:d"], "the tag 'b' has one value, not 'c' and 'd'"),
        (["subscribe", "a", "--since", "e:5", "--last", "2"], "two places to begin at"),
        (["publish", "a", "x", "--url", "http://127.0.0.1/"], "ws:// or wss://"),
        (["publish"], "CHANNEL"),
        (["subscribe"], "CHANNEL"),
        (["subscribe", "a", "--since", "5"], "epoch:offset"),
        (["subscribe", "a", "b", "--since", "e:5"], "--since is a position in one channel"),
        (["subscribe", "a", "--count", "0"], "--count"),
    ],
)
def test_what_makes_no_sense(server: ServerProcess, args: list[str], says: str) -> None:
    """Status 2, and what is allowed."""
    done = run(server, *args)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_the_key_comes_from_the_environment(server_process: Callable[..., ServerProcess]) -> None:
    """The server's and the commands' variable is the same one."""
    closed = server_process("-m", "fanwise", "serve", "--port", "{port}", FANWISE_API_KEY="s3cret-key")
    without, with_key = run(closed, "publish", "a", "x"), run(closed, "publish", "a", "x", FANWISE_API_KEY="s3cret-key")
    assert (without.returncode, with_key.returncode) == (1, 0)
    assert "(unauthorised)" in without.stderr
    assert run(closed, "publish", "a", "x", "--api-key", "s3cret-key").returncode == 0


def test_publish_and_subscribe_start_without_the_settings() -> None:
    """What only `serve` needs is imported by `serve`."""
    code = (
        "import sys, fanwise.cli.main; "
        "print(*sorted({'fanwise.settings', 'fanwise.serve', 'fanwise.app'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
