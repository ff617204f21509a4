"""The types of the browser client: `fanwise.d.ts`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fanwise.routes.assets import DIRECTORY

from ..support.typescript import CLIENT, EXAMPLES, TYPES, VERSION, made, run, tsc


@pytest.fixture(scope="module")
def compiler() -> str:
    found = tsc()
    if found is None:
        pytest.skip(f"there is no tsc {VERSION} here: tox -e typescript")
    return found


def test_the_types_have_every_name() -> None:
    """Each option, property, type and method that the comments describe, also where there is no tsc."""
    text, types = CLIENT.read_text(), TYPES.read_text()
    described = re.findall(r"@(?:param|property) \{.*\} \[?(?:options\.|detail\.)?(\w+)", text)
    defined = re.findall(r"@typedef \{.*\} (\w+)  ", text) + re.findall(r"^export class (\w+)", text, re.MULTILINE)
    client = text[text.index("export class FanwiseClient") :]
    methods = re.findall(r"^  (?:async |get )?(\w+)\(", client, re.MULTILINE)
    assert {"token", "tags", "last", "filter"} <= set(described)
    assert {"subscribe", "publish", "presence", "close", "positions"} <= set(methods)
    assert [name for name in [*described, *defined, *methods] if not re.search(rf"\b{name}\b", types)] == []


def test_the_types_are_those_of_the_comments(compiler: str) -> None:
    """What tsc makes of fanwise.js today is what stands beside it."""
    assert made(compiler) == TYPES.read_text(), "python -m tests.support.typescript --write"


def test_a_program_in_typescript(compiler: str, tmp_path: Path) -> None:
    """`tsc --strict` finds nothing in the example, and finds a mistake in it."""
    run(compiler, "--project", str(EXAMPLES))
    paths = {"/static/*": [f"{DIRECTORY}/*"]}
    options = {"extends": str(EXAMPLES / "tsconfig.json"), "compilerOptions": {"paths": paths}, "include": ["*.ts"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(options))
    example = (EXAMPLES / "board.ts").read_text()
    (tmp_path / "board.ts").write_text(example.replace("filter: { symbol }", "filter: symbol"))
    with pytest.raises(AssertionError, match="'string' is not assignable"):
        run(compiler, "--project", str(tmp_path))
