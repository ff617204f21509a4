/**
 * When to draw: once per frame at most, however much comes, and not at all while nobody sees the page. A browser gives
 * no frames to a page in the background, so what waits is one callback per thing to draw.
 */

const waiting = new Set();
let isAsked = false;

function draw() {
  isAsked = false;
  const now = [...waiting];
  waiting.clear();
  now.forEach((one) => one());
}

/** Calls `one` before the next frame, once. */
export function onNextFrame(one) {
  waiting.add(one);
  if (!isAsked) {
    isAsked = true;
    requestAnimationFrame(draw);
  }
}
