"""Trees to measure: copies of this one, of its past, and with changes planted."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


class RevisionError(ValueError):
    """Git does not give us that revision."""

    def __init__(self, revision: str, said: str) -> None:
        super().__init__(revision, said)
        self.revision = revision
        self.said = said

    def __str__(self) -> str:
        return f"cannot check out {self.revision!r}: {self.said or 'it has no server/fanwise/'}"


def copy_tree(destination: Path) -> Path:
    """A copy of what is measured and of what measures it, as they are now; returns its root."""
    for package in ("server", "benchmarks"):
        shutil.copytree(ROOT / package, destination / package, ignore=shutil.ignore_patterns("__pycache__"))
    return destination


def check_out(revision: str, destination: Path) -> Path:
    """The server of `revision`, with the benchmarks of this tree, so that both are measured with the same; its root.

    Raises:
        RevisionError: There is no such revision, or no repository.
    """
    command = ["git", "archive", "--format=tar", revision, "server/fanwise"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise RevisionError(revision, done.stderr.decode(errors="replace").strip())
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(destination, filter="data")
    shutil.copytree(ROOT / "benchmarks", destination / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    return destination


def environment(root: Path, **more: str) -> dict[str, str]:
    """The environment in which `root` is measured: nothing of this process's but where programs are."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join([str(root), str(root / "server")]),
        **more,
    }
