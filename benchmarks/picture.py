"""The animated picture of the README: headless Chromium plays the demo's story, once for each run of this program.

    tox -e picture
    python -m benchmarks.picture docs/demo.webp

Needs Pillow, Playwright and the Chromium of the system. Chromium sends some of the frames that it paints, and each is
shown for as long as it stood.
"""

from __future__ import annotations

import base64
import io
import shutil
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.support.processes import ROOT, ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect, Page, ViewportSize

PICTURE: Final = ROOT / "docs" / "demo.webp"
MOST_BYTES: Final = 1_000_000
VIEW: Final[ViewportSize] = {"width": 880, "height": 600}
END_MS: Final = 4000  # for which the last frame stands
LEAST_SECONDS: Final = 0.15  # between two frames: the more there are, the larger is the picture
EVERY_NTH: Final = 5  # of the frames that Chromium paints, 60 a second while cells pulse


def place(page: Page) -> FloatRect:
    """Returns where the demo stands, without what is below its keys."""
    box, keys = (page.locator(one).bounding_box() for one in ("#demo", ".keys-of-cells"))
    assert box is not None
    assert keys is not None
    return {"x": box["x"], "y": box["y"], "width": box["width"], "height": keys["y"] + keys["height"] + 10 - box["y"]}


def frames(page: Page) -> list[tuple[Image.Image, float]]:
    """Plays the story; returns [(frame, the time at which Chromium painted it)]."""
    taken: list[tuple[Image.Image, float]] = []
    clip = place(page)
    left, top = round(clip["x"]), round(clip["y"])
    box = (left, top, left + round(clip["width"]), top + round(clip["height"]))
    session = page.context.new_cdp_session(page)

    def take(event: dict[str, Any]) -> None:
        session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})
        painted_at = event["metadata"]["timestamp"]
        if taken and painted_at < taken[-1][1] + LEAST_SECONDS:
            return
        frame = Image.open(io.BytesIO(base64.b64decode(event["data"]))).convert("RGB")
        taken.append((frame.crop(box), painted_at))

    session.on("Page.screencastFrame", take)
    page.click("#demo-button")
    session.send("Page.startScreencast", {"format": "png", "everyNthFrame": EVERY_NTH})
    page.locator("#demo-button", has_text="Play again").wait_for()
    session.send("Page.stopScreencast")
    end = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
    assert place(page) == clip, "the demo has moved"
    return [*taken, (end.resize(taken[-1][0].size), taken[-1][1] + LEAST_SECONDS)]


def write(taken: list[tuple[Image.Image, float]], path: Path) -> int:
    """Writes the frames as animated WebP; returns its bytes."""
    times = [at for _, at in taken]
    shown = [round(1000 * (after - at)) for at, after in pairwise(times)]
    first, *others = (frame for frame, _ in taken)
    first.save(path, save_all=True, append_images=others, duration=[*shown, END_MS], loop=0, quality=60, method=6)
    return path.stat().st_size


def main(path: Path = PICTURE) -> None:
    """Plays the story on a server of its own, and writes the picture."""
    server = ServerProcess("-m", "fanwise", "serve", "--port", "{port}", whole=True)
    try:
        with sync_playwright() as playwright:
            chromium = shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport=VIEW, color_scheme="light")
            page.goto(f"http://127.0.0.1:{server.port}/demo")
            page.locator("#connection.live").wait_for()
            taken = frames(page)
            browser.close()
    finally:
        server.kill()
    written = write(taken, path)
    sys.stdout.write(f"{path}: {len(taken)} frames, {taken[-1][1] - taken[0][1]:.1f} s, {written:,} bytes\n")
    if written > MOST_BYTES:
        raise SystemExit(f"these are more than {MOST_BYTES:,} bytes")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
