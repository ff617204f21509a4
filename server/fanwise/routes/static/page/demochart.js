/** What a side has delivered since the beginning of the story: a line, red where there was nothing. */

import { onNextFrame } from "./frames.js";
import { colour, onTheme } from "./theme.js";

const SECONDS = 13; // of a story that goes as planned; a longer one is drawn as a whole
const MOST_POINTS = 400;
const LINE_PX = 2;

export class DemoChart {
  #canvas;
  #points = []; // [{seconds, rate, isStill}]
  #most = 1; // messages a second, of all healthy clients

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.#redraw()).observe(canvas.parentElement);
    onTheme(() => this.#redraw());
  }

  clear() {
    this.#points = [];
    this.#redraw();
  }

  add({ seconds, rate }, side, isStill) {
    const last = this.#points.at(-1);
    if (last !== undefined && seconds === last.seconds) {
      return; // the end, which comes twice where the page has asked for it
    }
    this.#points = last !== undefined && seconds < last.seconds ? [] : this.#points.slice(-MOST_POINTS);
    this.#points.push({ seconds, rate: isStill ? 0 : side.healthy.received_per_second, isStill });
    this.#most = rate * side.clients.length * 1.15;
    this.#redraw();
  }

  #redraw() {
    onNextFrame(() => this.#draw());
  }

  #draw() {
    const canvas = this.#canvas;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (width === 0) {
      return;
    }
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round(height * devicePixelRatio);
    const ctx = canvas.getContext("2d");
    ctx.scale(devicePixelRatio, devicePixelRatio);
    ctx.fillStyle = colour("line");
    ctx.fillRect(0, height - 1, width, 1);
    const span = Math.max(SECONDS, this.#points.at(-1)?.seconds ?? 0);
    const left = ({ seconds }) => (seconds / span) * width;
    const top = ({ rate }) => height - 1 - Math.min(rate / this.#most, 1) * (height - LINE_PX - 1);
    ctx.lineWidth = LINE_PX;
    ctx.lineJoin = "round";
    for (const [index, point] of this.#points.entries()) {
      const before = this.#points[index - 1] ?? { seconds: 0, rate: 0 };
      ctx.strokeStyle = colour(point.isStill ? "bad" : "good");
      ctx.beginPath();
      ctx.moveTo(left(before), top(before));
      ctx.lineTo(left(point), top(point));
      ctx.stroke();
    }
  }
}
