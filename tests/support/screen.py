"""The live page in a tab of a real browser, and what can be seen of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, ViewportSize

WIDE: ViewportSize = {"width": 1280, "height": 900}
# A server that is away, refuses a key or offers no demo is an error to the browser, which says so itself.
EXPECTED = ("Failed to load resource", "WebSocket connection to")
NOTHING = "\N{EN DASH}"  # where there is no figure
WATCH_THE_POLICY = """
    window.violations = [];
    document.addEventListener("securitypolicyviolation", ({violatedDirective, blockedURI}) =>
        window.violations.push(`${violatedDirective} ${blockedURI}`));
"""
# The page's own policy forbids what playwright's `wait_for_function` does.
UNTIL = """async (argument) => {
    const condition = %s;
    for (const end = performance.now() + 60_000; performance.now() < end;) {
        const found = await condition(argument);
        if (found) return found;
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error("waited in vain");
}"""
# The contrast of every text with what is behind it (WCAG 2.2, section 1.4.3): [[ratio, text], ...] of what is too weak.
CONTRASTS = """() => {
    const parse = (colour) => {
        const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
        return [r, g, b, a];
    };
    const over = ([r, g, b, a], under) => [r, g, b].map((one, i) => one * a + under[i] * (1 - a));
    const luminance = (rgb) => {
        const [r, g, b] = rgb.map((one) => {
            const c = one / 255;
            return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (node) => {
        if (node === null) return [255, 255, 255];
        const own = parse(getComputedStyle(node).backgroundColor);
        return own[3] === 1 ? own.slice(0, 3) : over(own, ground(node.parentElement));
    };
    const weak = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (walker.currentNode.data.trim() === "" || !node.checkVisibility()) continue;
        if (node.closest(".unseen, .skip")) continue;
        const style = getComputedStyle(node);
        const opacity = Number(style.opacity);
        const behind = ground(node);
        const ink = parse(style.color);
        const [one, other] = [luminance(over([...ink.slice(0, 3), ink[3] * opacity], behind)), luminance(behind)];
        const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (ratio < 4.5) weak.push([ratio, walker.currentNode.data.trim()]);
    }
    return weak;
}"""


class Screen:
    """A tab with the live page in it."""

    def __init__(self, context: BrowserContext) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(60_000)
        self.console: list[str] = []  # errors and warnings, uncaught exceptions included
        self.requests: list[str] = []
        self.page.add_init_script(WATCH_THE_POLICY)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _hear(self, entry: ConsoleMessage) -> None:
        if entry.type in ("error", "warning"):
            self.console.append(entry.text)

    def forget(self, size: ViewportSize) -> None:
        """Leaves the page, with all that it has done, kept and said."""
        self.page.unroute_all()
        if self.page.url.startswith("http"):
            self.page.evaluate("() => { sessionStorage.clear(); localStorage.clear(); }")
        self.page.goto("about:blank")
        self.page.context.clear_cookies()
        self.page.set_viewport_size(size)
        self.page.emulate_media(color_scheme="light", reduced_motion="no-preference")
        self.page.mouse.move(0, 0)
        self.console.clear()
        self.requests.clear()

    def open(self, url: str) -> None:
        """Loads the page, and returns when it has begun to talk to the server."""
        self.page.goto(url)
        self.until("() => document.querySelector('#version').textContent !== ''")

    def do(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(script, argument)

    def until(self, condition: str, argument: Any = None) -> Any:
        """Returns when the condition holds; otherwise fails with what the page says."""
        try:
            return self.do(UNTIL % condition, argument)
        except Exception as error:
            found = " ".join(self.page.inner_text("body").split())
            raise AssertionError(f"{condition} {argument}: in vain: {found} {self.console}") from error

    def text(self, selector: str) -> str:
        """As it is in the document, with single spaces."""
        return " ".join(str(self.page.locator(selector).first.text_content()).split())

    def shows(self, selector: str, text: str) -> None:
        """Returns when the text is there."""
        self.until(
            "([selector, text]) => document.querySelector(selector).textContent.replace(/\\s+/g, ' ').includes(text)",
            [selector, text],
        )

    def is_seen(self, selector: str) -> bool:
        return bool(self.page.locator(selector).is_visible())

    def column(self, table: str, number: int) -> list[str]:
        """The texts of a table's column, from 1."""
        return list(self.page.locator(f"#{table}-table tbody tr > :nth-child({number})").all_text_contents())

    def rows(self, table: str, number: int) -> None:
        """Returns when the table has so many rows."""
        self.until(
            "([table, number]) => document.querySelectorAll(`#${table}-table tbody tr`).length === number",
            [table, number],
        )

    def paints(self, selector: str, colour: tuple[int, int, int], *, isnt: bool = False) -> None:
        """Returns when the colour is on the canvas, or is not any more."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if (colour in self.colours(selector)) is not isnt:
                return
            self.do("() => new Promise(requestAnimationFrame)")
        raise AssertionError(f"{colour}: {self.colours(selector)}")

    def colours(self, selector: str) -> set[tuple[int, int, int]]:
        """What is painted on a canvas."""
        found = self.do(
            """(selector) => {
                const canvas = document.querySelector(selector);
                const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                const seen = new Set();
                for (let i = 0; i < data.length; i += 4) {
                    if (data[i + 3] === 255) seen.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
                }
                return [...seen].map((one) => one.split(",").map(Number));
            }""",
            selector,
        )
        return {(r, g, b) for r, g, b in found}

    def assert_clean(self, *expected: str) -> None:
        """Nothing was refused by the policy, nothing stands on the console but what begins so, nobody was hacked."""
        assert self.do("() => window.violations") == []
        assert [entry for entry in self.console if not entry.startswith(expected or ("nothing",))] == []
        assert self.do("() => window.hacked") is None
