"""Trees to measure: copies of this one, of its past, and with changes planted."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import NamedTuple

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

    A `revision` that is a folder with a `server/fanwise/` is copied.

    Raises:
        RevisionError: There is no such revision, or no repository.
    """
    if Path(revision, "server", "fanwise").is_dir():
        shutil.copytree(Path(revision, "server"), destination / "server", ignore=shutil.ignore_patterns("__pycache__"))
        return _with_benchmarks(destination)
    command = ["git", "archive", "--format=tar", revision, "server/fanwise"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise RevisionError(revision, done.stderr.decode(errors="replace").strip())
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(destination, filter="data")
    return _with_benchmarks(destination)


def _with_benchmarks(destination: Path) -> Path:
    shutil.copytree(ROOT / "benchmarks", destination / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    return destination


class Trees(NamedTuple):
    """Two copies to measure: the roots of a revision's and of this tree's, whose paths are of the same length."""

    old: Path
    new: Path


def trees(revision: str, directory: Path) -> Trees:
    """Copies both into `directory`. Raises RevisionError if there is no such revision."""
    return Trees(check_out(revision, directory / "old"), copy_tree(directory / "new"))


def default_revision() -> str:
    """What this tree is compared with by default: the commit at which its branch has left the trunk.

    On the trunk itself: the latest commit, where the server was changed since, or the latest with another server.

    Raises:
        RevisionError: There is no repository.
    """
    head = git("rev-parse", "HEAD")
    for trunk in ("origin/main", "main"):
        try:
            base = git("merge-base", "HEAD", trunk)
        except RevisionError:
            continue
        if base != head:
            return base
    if git("status", "--porcelain", "--", "server"):
        return head
    changed = git("log", "-1", "--format=%H", "--", "server/fanwise")
    return git("rev-parse", f"{changed}~1")


def git(*command: str) -> str:
    """What git says. Raises RevisionError if it does not know."""
    done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RevisionError(command[-1], done.stderr.strip())
    return done.stdout.strip()


def environment(root: Path, **more: str) -> dict[str, str]:
    """The environment in which `root` is measured: nothing of this process's but where programs are."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join([str(root), str(root / "server")]),
        **more,
    }
