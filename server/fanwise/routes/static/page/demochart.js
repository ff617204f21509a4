/** The healthy clients' latency over the last minute, with a mark where the mode was changed. */

import { Chart } from "./chart.js";
import { byId } from "./dom.js";
import { duration, roundDuration, text } from "./format.js";
import { colour } from "./theme.js";

const SECONDS = 60;
const MOST_POINTS = 300;
const LEAST_SECONDS = 1e-6; // a logarithmic axis has no 0
const NAMES = { fanwise: "Fanwise", tutorial: "tutorial loop" };

const drawn = (value) => (value === null ? null : Math.max(value, LEAST_SECONDS));

export class DemoChart {
  #points = []; // [{at, p50, p99}]
  #marks = []; // [{at, mode, isLower}]: two that are close to each other stand at different heights
  #chart = new Chart(byId("chart-demo"), {
    seconds: SECONDS,
    isLog: true,
    atLeast: [1e-3, 10], // so that a flat line stays where it is when everybody stops
    textOf: (value) => text(duration(value)),
    tickOf: roundDuration,
    draw: (plot) => this.#draw(plot),
  });

  constructor() {
    this.#chart.setSeries([
      { label: "p99", tone: "c4" },
      { label: "p50", tone: "c3", dash: [4, 3] },
    ]);
  }

  /** Another document, that came at a time of this machine. */
  add({ running, mode, healthy }, at) {
    const last = this.#points.at(-1);
    if (last !== undefined && at <= last.at) {
      return;
    }
    const now = running ? mode : null;
    if (now !== (this.#marks.at(-1)?.mode ?? null)) {
      this.#marks.push({ at, mode: now, isLower: !(this.#marks.at(-1)?.isLower ?? true) });
    }
    const isSeen = (one) => one.at > at - 2 * SECONDS;
    this.#points.push({ at, p50: running ? healthy.p50_seconds : null, p99: running ? healthy.p99_seconds : null });
    this.#points = this.#points.filter(isSeen).slice(-MOST_POINTS);
    this.#marks = this.#marks.filter((one, index) => isSeen(one) || index === this.#marks.length - 1);
    this.#chart.setData([
      this.#points.map((point) => point.at),
      this.#points.map(({ p99 }) => drawn(p99)),
      this.#points.map(({ p50 }) => drawn(p50)),
    ]);
  }

  #draw(plot) {
    const { ctx, bbox } = plot;
    const px = devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.strokeStyle = colour("ink");
    ctx.lineWidth = px;
    ctx.font = `${11 * px}px system-ui, sans-serif`;
    ctx.setLineDash([]);
    ctx.textAlign = "left";
    ctx.textBaseline = "top";
    for (const { at, mode, isLower } of this.#marks) {
      const left = Math.round(plot.valToPos(at, "x", true));
      const name = NAMES[mode] ?? "stopped";
      const width = ctx.measureText(name).width + 4 * px;
      const isRoom = left + width + 3 * px < bbox.left + bbox.width;
      ctx.beginPath();
      ctx.moveTo(left, bbox.top);
      ctx.lineTo(left, bbox.top + bbox.height);
      ctx.stroke();
      const top = bbox.top + (isLower ? 17 : 2) * px;
      this.#write(ctx, name, { left: isRoom ? left + 3 * px : left - width - 3 * px, top, width, height: 14 * px });
    }
    ctx.restore();
  }

  /** On a ground of its own, so that no other mark goes through it. */
  #write(ctx, name, { left, top, width, height }) {
    ctx.fillStyle = colour("panel");
    ctx.fillRect(left, top, width, height);
    ctx.fillStyle = colour("ink");
    ctx.fillText(name, left + 2 * devicePixelRatio, top + devicePixelRatio);
  }
}
