"""The types of the browser client: `python -m tests.support.typescript --write` has tsc make them from its comments.

The variable `TSC` says where tsc is, if it is not on the path: `tox -e typescript` brings one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fanwise.routes.assets import DIRECTORY

from .processes import ROOT

VERSION = "5.9.3"  # another one may write the same types otherwise
CLIENT, TYPES = DIRECTORY / "fanwise.js", DIRECTORY / "fanwise.d.ts"
EXAMPLES = ROOT / "examples"
HEAD = "// Made from the comments of fanwise.js, by python -m tests.support.typescript --write.\n"
_LANGUAGE = ["--strict", "--target", "es2022", "--module", "es2022", "--lib", "es2023,dom"]


def tsc() -> str | None:
    """Returns the compiler; None where there is none of the version."""
    found = os.environ.get("TSC") or shutil.which("tsc")
    return found if found is not None and run(found, "--version").endswith(f" {VERSION}\n") else None


def run(compiler: str, *args: str) -> str:
    """Returns what tsc prints. Raises AssertionError with that if tsc finds a mistake."""
    done = subprocess.run([compiler, *args], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def made(compiler: str) -> str:
    """Returns the types that tsc makes of fanwise.js."""
    with tempfile.TemporaryDirectory() as folder:
        made_by = ["--allowJs", "--declaration", "--emitDeclarationOnly", "--outDir", folder]
        run(compiler, str(CLIENT), *made_by, *_LANGUAGE)
        return HEAD + Path(folder, TYPES.name).read_text()


if __name__ == "__main__":
    compiler = tsc()
    if sys.argv[1:] != ["--write"] or compiler is None:
        sys.exit(f"usage: [TSC=...] python -m tests.support.typescript --write, with tsc {VERSION}")
    TYPES.write_text(made(compiler))
