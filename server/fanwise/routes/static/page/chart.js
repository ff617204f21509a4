/** A chart of uPlot's inside a `<figure>`: its axes, its size, and a legend that says the newest values in words. */

import uPlot from "../uplot/uPlot.esm.js";
import { make, write } from "./dom.js";
import { timeOfDay, timeOfDayShort } from "./format.js";
import { colour, onTheme } from "./theme.js";

const FONT = "11px system-ui, sans-serif";
const NEAR = 1 / 3; // of a threshold: from there on the axis reaches up to it
const CLOSE = 0.02; // of the time that is shown: what is pointed at has no point further away
const LEFT_PX = 58; // the same for all, so that what happened at one time stands in one line

// What a time axis is labelled with, and how far apart at least, in pixels.
const TIMES = {
  minutes: { space: 44, incrs: [60, 120, 300, 600, 900, 1800], values: (_chart, times) => times.map(timeOfDayShort) },
  seconds: { space: 64, incrs: [5, 10, 15, 20, 30, 60], values: (_chart, times) => times.map(timeOfDay) },
};

function axis(options) {
  const line = () => colour("line");
  return {
    stroke: () => colour("soft"),
    font: FONT,
    grid: { stroke: line, width: 1 },
    ticks: { stroke: line, width: 1, size: 4 },
    ...options,
  };
}

/** From 0 to a little more than the most; an axis without values is one all the same. */
const fromZero = (_chart, _least, most) => [0, most > 0 ? most * 1.1 : 10];

/** Whole decades, which show at least from one value to another. */
const decades = ([from, to]) => (_chart, least, most) => {
  const low = 10 ** Math.floor(Math.log10(Math.min(least ?? from, from)) + 1e-9);
  return [low, Math.max(low * 10, 10 ** Math.ceil(Math.log10(Math.max(most ?? to, to)) - 1e-9))];
};

/** One line for each decade. */
function eachDecade(_chart, _axis, least, most) {
  const first = Math.round(Math.log10(least));
  return Array.from({ length: Math.round(Math.log10(most)) - first + 1 }, (_, index) => 10 ** (first + index));
}

const all = (_chart, splits) => splits;

/** A dashed line through a chart, and its words above it; below it where there is no room above. */
export function drawLine({ ctx, bbox }, y, words) {
  const { left, top, width } = bbox;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour("bad");
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(left, y);
  ctx.lineTo(left + width, y);
  ctx.stroke();
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  const isAbove = y - top > 14 * devicePixelRatio;
  ctx.textBaseline = isAbove ? "bottom" : "top";
  ctx.textAlign = "left";
  ctx.fillText(words, left + 4 * devicePixelRatio, y + (isAbove ? -1 : 2) * devicePixelRatio);
  ctx.restore();
}

/** The indices of values without a neighbour: no line goes through them. */
function alone(values) {
  const is = (index) => (values[index] ?? null) !== null;
  return values.flatMap((_, index) => (is(index) && !is(index - 1) && !is(index + 1) ? [index] : []));
}

export class Chart {
  #figure;
  #options;
  #series = [];
  #rows = []; // [<span> of the value] of the legend
  #moment; // <span> that says of when the values are
  #plot = null;
  #data = [[]];
  #seconds; // how much time it shows
  #threshold = null; // {value, words}
  #note = make("li", { hidden: true }, make("span", { className: "swatch c8 dashed" }), make("span")); // out of reach

  /**
   * @param {HTMLElement} figure  With `.plot`, `.legend` and `.moment` in it.
   * @param {object} options
   * @param {(value: ?number, series: number) => string} options.textOf  A value for the legend.
   * @param {(value: number) => string} [options.tickOf]  A value for the axis.
   * @param {number} options.seconds  How much time it shows, up to the newest point.
   * @param {boolean} [options.isLog]  A logarithmic axis, which shows the values `options.atLeast`, [from, to], anyway.
   * @param {string} [options.group]  Charts whose cursors go together.
   * @param {object} [options.y]  More for the axis, and `range`.
   * @param {(plot: uPlot) => void} [options.draw]  What is drawn over, or instead.
   */
  constructor(figure, options) {
    this.#figure = figure;
    this.#options = { tickOf: options.textOf, ...options };
    this.#moment = figure.querySelector(".moment");
    this.#seconds = options.seconds;
    const size = new ResizeObserver(() => this.#plot?.setSize(this.#size()));
    size.observe(this.#area);
    onTheme(() => this.#plot?.redraw());
  }

  /**
   * @param {{label: string, tone: string, dash?: number[], isFilled?: boolean}[]} series  A tone is a colour's name; a
   *     series in "none" stands in the legend only.
   */
  setSeries(series) {
    if (JSON.stringify(series) === JSON.stringify(this.#series) && this.#plot !== null) {
      return;
    }
    this.#series = series;
    this.#plot?.destroy();
    this.#data = [[], ...series.map(() => [])];
    this.#plot = new uPlot(this.#describe(), this.#data, this.#area);
    this.#makeLegend();
  }

  /** A value that a line is drawn at, as far as the chart reaches: {value, words}, or null. */
  setThreshold(threshold) {
    if (JSON.stringify(threshold) === JSON.stringify(this.#threshold)) {
      return;
    }
    this.#threshold = threshold;
    const words = threshold === null ? "" : ` The dashed line is ${threshold.words}.`;
    const label = this.#area.dataset.label ?? this.#area.getAttribute("aria-label");
    this.#area.dataset.label = label;
    this.#area.setAttribute("aria-label", label + words);
    write(this.#note.lastElementChild, threshold?.words ?? "");
    this.#note.hidden = true;
  }

  /** The columns: times, and values of each series. `seconds`: how much time is shown. */
  setData(data, seconds = this.#seconds) {
    this.#data = data;
    this.#seconds = seconds;
    this.#plot.setData(data);
    this.#tell();
  }

  /** Puts the crosshair of its group to a share of the width, or takes it away; returns the time that it reads. */
  point(share) {
    const { width } = this.#plot.over.getBoundingClientRect();
    const left = share === null ? -10 : share * width;
    this.#plot.setCursor({ left, top: left }, true, true);
    return share === null ? null : this.#plot.posToVal(left, "x");
  }

  get #area() {
    return this.#figure.querySelector(".plot");
  }

  #size() {
    return { width: Math.max(this.#area.clientWidth, 120), height: Math.max(this.#area.clientHeight, 40) };
  }

  #describe() {
    const { isLog, atLeast, group, y = {}, draw = () => {}, tickOf } = this.#options;
    const { range = isLog ? decades(atLeast) : this.#linear, ...yAxis } = isLog ? { splits: eachDecade, filter: all, ...y } : y;
    const times = this.#seconds > 120 ? TIMES.minutes : TIMES.seconds;
    const newest = () => this.#data[0].at(-1) ?? Date.now() / 1000;
    return {
      ...this.#size(),
      padding: [8, times.space / 2 - 6, 0, 0], // top, right, bottom, left: the last label is as wide as any
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false },
        points: { show: false },
        ...(group === undefined ? {} : { sync: { key: group } }),
      },
      scales: { x: { range: () => [newest() - this.#seconds, newest()] }, y: { range, distr: isLog ? 3 : 1 } },
      axes: [
        axis({ size: 24, ...times }),
        axis({ size: LEFT_PX, space: 24, values: (_chart, ticks) => ticks.map(tickOf), ...yAxis }),
      ],
      series: [{}, ...this.#series.map((one) => this.#line(one))],
      hooks: { setCursor: [() => this.#tell()], draw: [draw, (plot) => this.#drawThreshold(plot)] },
    };
  }

  /** Reaches to the threshold where the values come near it. */
  #linear = (chart, least, most) => {
    const { value } = this.#threshold ?? { value: Infinity };
    return fromZero(chart, least, most > value * NEAR ? Math.max(most, value * 1.1) : most);
  };

  #drawThreshold(plot) {
    if (this.#threshold === null) {
      return;
    }
    const { value, words } = this.#threshold;
    const isInReach = value <= plot.scales.y.max;
    this.#note.hidden = isInReach;
    if (isInReach) {
      drawLine(plot, plot.valToPos(value, "y", true), words);
    }
  }

  #line({ tone, dash, isFilled }) {
    return {
      stroke: () => colour(tone),
      width: tone === "none" ? 0 : 1.5,
      points: {
        show: tone !== "none",
        size: 4,
        fill: () => colour(tone),
        filter: (_plot, series) => alone(this.#data[series]),
      },
      ...(dash === undefined ? {} : { dash }),
      ...(isFilled ? { fill: () => `${colour(tone)}22` } : {}),
    };
  }

  #makeLegend() {
    this.#rows = this.#series.map(() => make("span", { className: "value" }));
    const items = this.#series.map(({ label, tone, dash }, index) => {
      const swatch = make("span", { className: `swatch ${tone}${dash === undefined ? "" : " dashed"}` });
      return make("li", {}, swatch, `${label} `, this.#rows[index]);
    });
    this.#figure.querySelector(".legend").replaceChildren(...items, this.#note);
  }

  /** The values under the cursor, or else the newest. */
  #tell() {
    const times = this.#data[0];
    const { idx: nearest, left } = this.#plot?.cursor ?? { idx: null };
    const at = (nearest ?? null) === null ? null : this.#plot.posToVal(left, "x");
    const isThere = at !== null && Math.abs(times[nearest] - at) < this.#seconds * CLOSE;
    const index = at === null ? times.length - 1 : isThere ? nearest : -1;
    this.#rows.forEach((node, row) => write(node, this.#options.textOf(this.#data[row + 1][index] ?? null, row)));
    write(this.#moment, at === null ? "" : `at ${timeOfDay(isThere ? times[nearest] : at)}`);
  }
}
