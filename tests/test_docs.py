"""The documents against the code: tables, links, code blocks and the rules of prose that a program can check."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click
import pytest
from uvicorn.main import main as uvicorn_main
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from fanwise.cli.main import main
from fanwise.settings import Settings, variable

from .support import tables
from .support.processes import ROOT, ServerProcess, run

NEW = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
ALL = [*NEW, ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md"]
FORBIDDEN = re.compile(r"\b(likewise|the same|as above)\b", re.IGNORECASE)
FIRST = {"Who", "What", "Whoever", "Whatever", "Nobody", "If", "There"}  # no noun of the vocabulary
FIRST_ALLOWED = {"There is one key", "There is one demo"}
OTHERS = {"docker", "gunicorn", "tail", "pip", "python3", "source"}  # programs that are not ours


class Block(NamedTuple):
    """A fenced block of code."""

    path: Path
    language: str
    request: str  # what stands in a comment above a block of JSON: "GET /channels"
    code: str


def name_of(value: object) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else ""


def blocks(*languages: str) -> Iterator[Block]:
    pattern = re.compile(r"(?:^<!-- (\w+ /\S*) -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for path in ALL:
        for request, language, code in pattern.findall(path.read_text()):
            if language in languages:
                yield Block(path, language, request, code)


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub makes of a file's headings."""
    headings = re.findall(r"^#+ (.+)$", without_code(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def sentences(text: str) -> Iterator[str]:
    """The sentences of paragraphs, list items and table cells; inline code is one word."""
    text = re.sub(r"<!--.*?-->", "", without_code(text), flags=re.DOTALL)
    text = re.sub(r"`[^`]*`", "`x`", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text))
    for paragraph in re.split(r"\n\s*\n|\n(?=[-*#|] ?|\d+\. )", text):
        for cell in paragraph.strip("| ").split(" | "):
            yield from re.split(r"(?<=[.:;?!])\s+", re.sub(r"^(#+|[-*]|\d+\.)\s+", "", " ".join(cell.split())))


def broken_links(path: Path) -> list[str]:
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text())):
        if re.match(r"https?:", target):
            continue
        place, _, anchor = target.partition("#")
        file = path.parent / place if place else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            found.append(target)
    return found


@pytest.mark.parametrize("name", sorted(tables.TABLES))
def test_a_table_is_what_code_makes_of_it(name: str) -> None:
    """Else `python -m tests.support.tables --write`; then the last column is written by hand."""
    assert tables.current(name) == tables.generated(name)
    assert [line for line in tables.current(name).splitlines() if line.endswith("| |")] == []


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    """To a file that exists, and to a heading that it has."""
    assert broken_links(path) == []


def test_every_document_is_linked() -> None:
    """From the README or from another document."""
    targets = {
        (path.parent / target.partition("#")[0]).resolve()
        for path in ALL
        for target in re.findall(r"\]\(([^)\s:]+)\)", path.read_text())
    }
    assert set(NEW) - targets - {ROOT / "README.md"} == set()


def test_the_sdist_takes_every_document() -> None:
    """Each file, or the folder that has it, is in the list."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
    assert {path.relative_to(ROOT).parts[0] for path in ALL} - listed == set()


@pytest.mark.parametrize("path", NEW, ids=name_of)
def test_prose_is_read_once(path: Path) -> None:
    """At most 25 words a sentence; no reference to a neighbour; no pronoun in the place of a noun."""
    found = list(sentences(path.read_text()))
    assert [one for one in found if len(one.split()) > 25] == []
    assert [one for one in found if FORBIDDEN.search(one)] == []
    assert [
        one for one in found if one.split()[:1] and one.split()[0] in FIRST and not one.startswith(tuple(FIRST_ALLOWED))
    ] == []


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    """The checks themselves can fail."""
    document = tmp_path / "a.md"
    document.write_text("# One\n\n[x](b.md) [y](#two) [z](#one)\n\n" + "word " * 26 + ".\n")
    assert broken_links(document) == ["b.md", "#two"]
    assert max(len(one.split()) for one in sentences(document.read_text())) == 27
    assert problems("fanwise serve --prot 1", set()) == ["fanwise serve --prot"]
    assert problems("fanwise swim", set()) == ["fanwise swim"]
    assert problems("curl http://127.0.0.1:8000/publich/a", set()) == ["http://127.0.0.1:8000/publich/a"]
    assert problems("tox -e nothing", {"lint"}) == ["tox -e nothing"]


@pytest.mark.parametrize("path", NEW, ids=name_of)
def test_a_named_setting_exists(path: Path) -> None:
    """Under the name that a document has for it."""
    assert unknown_settings(path.read_text()) == set()


def test_security_names_every_limit() -> None:
    """Settings whose value bounds what a stranger can send; a planted name is unknown."""
    named = set(re.findall(r"FANWISE_[A-Z_]*[A-Z]\b", (ROOT / "docs" / "operations" / "security.md").read_text()))
    limits = {variable(field) for field in Settings.model_fields if field.startswith("max_") or "_per_second" in field}
    assert limits - named == set()
    assert unknown_settings("`FANWISE_MAX_HEADERS` and `FANWISE_MAX_HAEDERS`") == {"FANWISE_MAX_HAEDERS"}


def unknown_settings(text: str) -> set[str]:
    known = {variable(field) for field in Settings.model_fields} | {"FANWISE_TOKEN"}  # of `publish` and `subscribe`
    return set(re.findall(r"FANWISE_[A-Z_]*[A-Z]\b", text)) - known


def test_the_readme_is_short_and_begins_with_two_commands() -> None:
    """CI takes the second."""
    text = (ROOT / "README.md").read_text()
    commands = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(text.splitlines()) <= 160
    assert commands[0].rstrip().endswith("fanwise serve")
    assert commands[1].rstrip().endswith(".venv/bin/pytest")


def test_the_picture_moves_and_is_small() -> None:
    """Animated WebP (RFC 9649) of at most 1 MB, of more frames than the demo has steps: `tox -e picture` writes it."""
    picture = (ROOT / "docs" / "demo.webp").read_bytes()
    assert (picture[:4], picture[8:12]) == (b"RIFF", b"WEBP")
    assert len(picture) <= 1_000_000
    assert b"ANIM" in picture[:100]
    assert picture.count(b"ANMF") > 20
    assert "](docs/demo.webp)" in (ROOT / "README.md").read_text()


def options(command: click.Command) -> set[str]:
    parameters = command.get_params(click.Context(command))
    return {"--help"} | {name for one in parameters for name in (*one.opts, *one.secondary_opts)}


def uvicorn_options() -> set[str]:
    command: Any = uvicorn_main  # click's decorators hide that it is a command
    return options(command)


def is_route(url: str) -> bool:
    """Whether the server has a route for the path of `url`, whatever its channel is called."""
    shown = re.findall(r"`[A-Z]+ (/\S*)`", tables.current("routes"))
    patterns = [re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)) for path in shown]
    return any(re.fullmatch(pattern, urlsplit(url).path) for pattern in patterns)


def problems(line: str, environments: set[str]) -> list[str]:
    """Commands and flags in a line of shell that do not exist."""
    found = []
    for part in re.split(r"&&|\|", line):
        words = [word for word in shlex.split(part, comments=True) if not re.fullmatch(r"[A-Z_]+=.*", word)]
        if not words:
            continue
        program, flags = Path(words[0]).name, [word for word in words if word.startswith("-")]
        if words[:3] == ["python", "-m", "fanwise"]:
            program, words = "fanwise", words[2:]
            flags = [word for word in words if word.startswith("-")]
        if program == "fanwise":
            command = main.commands.get(words[1])
            wrong = [words[1]] if command is None else [f for f in flags if f not in options(command)]
            found += [f"fanwise {words[1]} {flag}" if command else f"fanwise {flag}" for flag in wrong]
        elif program == "curl":
            found += [word for word in words if word.startswith("http") and not is_route(word)]
        elif program == "tox":
            found += [] if words[2] in environments else [f"tox -e {words[2]}"]
        elif program == "uvicorn":
            found += [f"uvicorn {flag}" for flag in flags if flag not in uvicorn_options()]
        elif program == "pytest":
            found += [word for word in words[1:] if word.startswith("tests/") and not (ROOT / word).exists()]
        elif program not in OTHERS:
            found.append(program)
    return found


@pytest.mark.parametrize("block", list(blocks("sh")), ids=name_of)
def test_shell_names_commands_and_flags_that_exist(block: Block) -> None:
    """Of ours, of uvicorn and of tox."""
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    environments = {section.removeprefix("testenv:") for section in tox.sections()}
    found = [problem for line in block.code.splitlines() for problem in problems(line, environments)]
    assert found == []


@pytest.mark.parametrize("block", list(blocks("python")), ids=name_of)
def test_python_compiles(block: Block) -> None:
    """Each block by itself."""
    compile(block.code, str(block.path), "exec")


def keys(value: Any) -> Any:
    """The shape of a document: its names, and those inside, without what belongs to them."""
    if isinstance(value, dict):
        return {name: keys(inner) for name, inner in value.items()}
    return [keys(value[0])] if isinstance(value, list) and value else None


def answer(port: int, request: str) -> Any:
    method, path = request.split(" ")
    url = f"http://127.0.0.1:{port}{path}"
    asked = urllib.request.Request(url, method=method, data=b"hello" if method == "POST" else None)
    try:
        with urllib.request.urlopen(asked) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)


def test_json_has_the_shape_of_real_answers(serve: Callable[..., ServerProcess]) -> None:
    """Each block of JSON parses; those with a request above them have the names of its answer."""
    port = serve().port
    answer(port, "POST /publish/lobby")
    for block in blocks("json"):
        written = json.loads(block.code)
        if block.request:
            assert keys(written) == keys(answer(port, block.request)), block.request


def test_the_session_in_the_documents_takes_place(serve: Callable[..., ServerProcess]) -> None:
    """The server answers a documented session with the documented names, and values where they are not random."""
    server = serve()
    for block in blocks("jsonl"):
        lines = [(line[0], json.loads(line[2:])) for line in block.code.splitlines()]
        with connect(server.url("/ws"), subprotocols=[Subprotocol("fanwise.v1")], proxy=None) as websocket:
            for side, message in lines:
                if side == ">":
                    websocket.send(json.dumps(message))
                    continue
                heard = json.loads(websocket.recv())
                assert keys(heard) == keys(message)
                random = {"client", "epoch", "message", "version"}
                assert {k: v for k, v in heard.items() if k not in random} == {
                    k: v for k, v in message.items() if k not in random
                }


@pytest.mark.parametrize("block", list(blocks("toml")), ids=name_of)
def test_settings_in_a_file_are_in_force(block: Block, tmp_path: Path) -> None:
    """The command that prints the settings takes them from the file, each of its names."""
    path = tmp_path / "fanwise.toml"
    path.write_text(block.code)
    done = run("-m", "fanwise", "config", "--config", str(path), "--json")
    assert done.returncode == 0, done.stderr
    written, printed = tomllib.loads(block.code), done.stdout
    assert [name for name in (*written, *written["channels"]) if f'"{name}"' not in printed] == []


UNTIL_THE_FIRST_MESSAGE = """
import asyncio

async def run() -> None:
    global stop
    stop = asyncio.Event()
    task = asyncio.create_task(main())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopped}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    task.cancel()
    await asyncio.wait({task})

asyncio.run(run())
"""
PROGRAMS = [block for block in blocks("python") if "async def main" in block.code]
APPLICATIONS = [block for block in blocks("python") if "\napp = FastAPI(" in block.code]


@pytest.mark.parametrize("block", PROGRAMS, ids=name_of)
def test_a_client_program_runs(block: Block, serve: Callable[..., ServerProcess]) -> None:
    """It receives what it publishes, up to the first message."""
    code = block.code.replace(":8000", f":{serve().port}")
    body = code.replace("async for message in client:", "async for message in client:\n            stop.set()", 1)
    done = run("-c", body + UNTIL_THE_FIRST_MESSAGE)
    assert done.returncode == 0, done.stderr
    assert "world" in done.stdout


def test_the_synchronous_program_runs(serve: Callable[..., ServerProcess]) -> None:
    """It gets what it has published, and ends by itself."""
    (block,) = (block for block in blocks("python") if "with SyncClient(" in block.code)
    done = run("-c", block.code.replace(":8000", f":{serve().port}").replace("=1.0", "=0.1"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "2 {'done': 2}\n3 {'done': 3}\n"


@pytest.mark.parametrize("block", APPLICATIONS, ids=name_of)
def test_an_application_serves(block: Block, tmp_path: Path, server_process: Callable[..., ServerProcess]) -> None:
    """With the protocol classes, as the documents say: a client gets its own message back."""
    (tmp_path / "yourapp.py").write_text(block.code)
    server = server_process(
        *("-m", "uvicorn", "yourapp:app", "--app-dir", str(tmp_path), "--port", "{port}"),
        *("--ws", "fanwise.protocol:FanwiseProtocol", "--http", "fanwise.protocol:FanwiseHttpProtocol"),
    )
    headers = {"Authorization": "Bearer long-enough-key"}
    with connect(server.url("/ws"), additional_headers=headers, proxy=None) as websocket:
        websocket.send("hello")
        assert websocket.recv() == "Message: hello"


def test_the_tables_of_settings_are_whole() -> None:
    """A planted fault: a table without one of its rows is not what code makes."""
    before, table, after = tables.found(tables.TABLES["settings"].path.read_text(), "settings")
    assert "FANWISE_HOST" in table
    assert "FANWISE_HOST" not in before + after
    assert table.replace("`FANWISE_HOST`", "`FANWISE_HOTS`") != tables.generated("settings")
