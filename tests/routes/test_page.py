from __future__ import annotations

import re
from collections.abc import AsyncIterator
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from fastapi import APIRouter, FastAPI

from fanwise.app import create_app
from fanwise.broadcaster.node import Node
from fanwise.routes.assets import DIRECTORY
from fanwise.routes.metrics import Collector
from fanwise.routes.page import page_routes
from fanwise.settings import load_settings

from ..support.live import Live, running

INDEX = (DIRECTORY / "index.html").read_text()
MODULES = sorted((DIRECTORY / "page").glob("*.js"))
OURS = [*MODULES, DIRECTORY / "fanwise.js"]

# Ways in which text becomes HTML, or code.
DANGEROUS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|setHTML|document\.write|createContextualFragment|DOMParser|srcdoc"
    r"|\beval\b|\bFunction\(|setTimeout\([\"'`]|javascript:|\.cssText|setAttribute\(\s*[\"'`](?:on|style|href|src)"
)
VENDORED = {
    "LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    "uPlot.esm.js": "96f6b014d2fe9366968e9b0f935cb6edac375ffb21b14a536954d3dcb44bc518",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}


class Document(HTMLParser):
    """The elements of a page: [(name, attributes)], and the text in scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.inline = ""
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style"):
            self.inline += data.strip()

    def values(self, *attributes: str) -> list[str]:
        return [found[name] for _, found in self.elements for name in attributes if name in found]


DOCUMENT = Document(INDEX)


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    app = FastAPI()
    outer = APIRouter()
    outer.include_router(page_routes(), prefix="/deep/down")
    app.include_router(page_routes())
    app.include_router(outer)
    async with running(app) as live:
        yield live


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/", "/deep/down/"])
async def test_the_page_and_its_policy(live: Live, path: str) -> None:
    """HTML that may load and reach nothing but this server, in nobody's frame; a browser asks for it each time."""
    answer = await live.request("GET", path)
    assert (answer.status, answer.body.decode()) == (200, INDEX)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "form-action": "'none'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.anyio
async def test_it_is_there_to_be_read(live: Live) -> None:
    """HEAD has no body; other methods are refused; a prefix without its slash leads to the one with it."""
    head = await live.request("HEAD", "/")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(INDEX.encode())))
    assert (await live.request("POST", "/")).status == 405
    answer = await live.request("GET", "/deep/down")
    assert (answer.status, answer.headers["location"].endswith("/deep/down/")) == (307, True)


@pytest.mark.anyio
async def test_the_application_has_it_and_a_router_alone_has_not() -> None:
    """Who embeds the routes has a page of their own at `/`."""
    app = create_app(load_settings())
    async with running(app) as live:
        assert (await live.request("GET", "/")).status == 200
        assert "/" not in app.openapi()["paths"]
    embedding = FastAPI()
    embedding.include_router(create_app(load_settings()).state.broadcaster.router)
    async with running(embedding) as live:
        assert (await live.request("GET", "/")).status == 404


def test_charts_name_what_metrics_call_the_same() -> None:
    """Under each of them, by the names of `/metrics`."""
    written = re.findall(r'<p class="metric soft">([^<]*)</p>', INDEX)
    assert len(written) == len(re.findall(r'<figure class="panel" id="chart-', INDEX))
    families = {family.name for family in Collector(Node()).collect()}
    named = {name.removesuffix("_total") for names in written for name in names.split(", ")}
    assert named - families == set()
    assert "fanwise_ready_age_seconds" in named


def test_nothing_stands_inline() -> None:
    """No script, style or handler in the page itself: its policy would forbid them."""
    assert DOCUMENT.inline == ""
    assert not [name for _, found in DOCUMENT.elements for name in found if name == "style" or name.startswith("on")]
    assert "style" not in {tag for tag, _ in DOCUMENT.elements}


def test_it_works_offline_and_anywhere() -> None:
    """Every URL is relative; what lies in static/ is there; nothing is loaded from elsewhere."""
    urls = [url for url in DOCUMENT.values("href", "src", "action") if not url.startswith("#")]
    assert urls
    for url in urls:
        assert not re.match(r"/|\.\.|[a-z]+:", url), url
        assert not url.startswith("static/") or (DIRECTORY.parent / url).is_file(), url
    for path in [*MODULES, *(DIRECTORY / "page").glob("*.css")]:
        assert not re.search(r"[\"'`(](https?|wss?):|@import|url\([^)]", path.read_text()), path.name


def test_what_refers_to_something_finds_it() -> None:
    """Ids are unique; links, labels and scripts name ids that are there; imports name files that are there."""
    ids = DOCUMENT.values("id")
    assert len(ids) == len(set(ids))
    named = " ".join(DOCUMENT.values("aria-labelledby", "aria-describedby", "for")).split()
    named += [url[1:] for url in DOCUMENT.values("href") if url.startswith("#")]
    for path in MODULES:
        text = path.read_text()
        named += re.findall(r"byId\(\"([\w-]+)\"\)", text)
        for imported in re.findall(r"from \"([^\"]+)\"", text):
            assert (path.parent / imported).is_file(), (path.name, imported)
    assert set(named) <= set(ids)


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_text_stays_text(path: object) -> None:
    """No script of ours makes HTML or code out of text."""
    assert isinstance(path, type(DIRECTORY))
    assert DANGEROUS.findall(path.read_text()) == []


@pytest.mark.parametrize("line", ["a.innerHTML = b", "a.outerHTML", "eval(a)", 'a.setAttribute("onclick", b)'])
def test_what_is_dangerous_is_found(line: str) -> None:
    """The check itself can fail."""
    assert DANGEROUS.search(line)


def test_the_vendored_library_is_what_it_says() -> None:
    """It is uPlot, byte for byte, with its licence and its version beside it."""
    folder = DIRECTORY / "uplot"
    assert {name: sha256((folder / name).read_bytes()).hexdigest() for name in VENDORED} == VENDORED
    assert "1.6.32" in (folder / "README.md").read_text()
    assert "(v1.6.32)" in (folder / "uPlot.esm.js").read_text()[:300]
