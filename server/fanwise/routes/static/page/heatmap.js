/**
 * The lag of all clients over time, as a heat strip: a column for each second, a row for each bucket of the histogram,
 * and the more clients the stronger the colour, on a logarithmic scale: one client among ten thousand is to be seen.
 */

import { Chart, drawLine } from "./chart.js";
import { byId, write } from "./dom.js";
import { count, text } from "./format.js";
import { colour } from "./theme.js";

const LEAST_ROWS = 8;
const STEPS = 5; // --heat-1 to --heat-5
const MOST_LABELS = 8;

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const channelsOf = (hex) => [1, 3, 5].map((from) => Number.parseInt(hex.slice(from, from + 2), 16));

/** The colour for a share of the scale, 0 to 1. */
function heat(share) {
  const place = Math.min(Math.max(share, 0), 1) * (STEPS - 1);
  const low = Math.min(Math.floor(place), STEPS - 2);
  const [from, to] = [low, low + 1].map((step) => channelsOf(colour(`heat-${step + 1}`)));
  const mixed = from.map((one, index) => Math.round(one + (to[index] - one) * (place - low)));
  return `rgb(${mixed.join(" ")})`;
}

/** How many clients were in each bucket, over the second: [0.25, 3, ...]; null if nobody was there. */
export function column({ change, clients }) {
  const lag = change?.lag ?? null;
  const samples = lag === null ? 0 : sum(lag.counts);
  return samples === 0 ? null : lag.counts.map((seen) => (seen / samples) * Math.max(clients, 1));
}

/** The index of the last bucket that somebody was in. */
const furthest = (cells) => cells.findLastIndex((clients) => clients > 0);

export class Strip {
  #chart;
  #points = []; // [{from, to, cells}]: seconds since 1970, clients in each bucket
  #bounds = []; // of the rows, in messages; none are known before the first document
  #rows = LEAST_ROWS;
  #most = 10; // clients, at the strong end of the scale
  #limit = null; // {messages, bound}

  constructor() {
    this.#chart = new Chart(byId("chart-lag"), {
      seconds: 300,
      group: "past",
      textOf: (value, series) => this.#textOf(value, series),
      tickOf: String,
      y: {
        range: () => [0, this.#rows],
        splits: () => this.#labelled().map((row) => row + 0.5),
        values: () => this.#labelled().map((row) => this.#label(row)),
        grid: { show: false },
      },
      draw: (plot) => this.#draw(plot),
    });
    this.#chart.setSeries([
      { label: "up to date", tone: "none" },
      { label: "furthest behind", tone: "none" },
      { label: "clients", tone: "none" },
    ]);
  }

  /** The queue limit, `{messages, bound}`, is drawn as a line: who gets beyond it is closed, or skips. */
  limit(limit) {
    this.#limit = limit ?? null;
  }

  /** Shows points; `bounds` are the histogram's. */
  show(past, bounds) {
    this.#points = past.points.map((point) => ({
      from: point.at - (point.change?.seconds ?? 1),
      to: point.at,
      cells: column(point),
    }));
    const columns = this.#points.map(({ cells }) => cells).filter((cells) => cells !== null);
    this.#bounds = bounds;
    const rows = Math.max(LEAST_ROWS, this.#limitRow() + 3, ...columns.map((cells) => furthest(cells) + 1));
    this.#rows = Math.min(rows, this.#bounds.length + 1);
    this.#most = 10 ** Math.max(1, Math.ceil(Math.log10(Math.max(1, ...columns.flat()))));
    write(byId("heat-most"), text(count(this.#most)));
    const ofCells = (valueOf) => this.#points.map(({ cells }) => (cells === null ? null : valueOf(cells)));
    this.#chart.setData([
      this.#points.map(({ to }) => to),
      ofCells((cells) => cells[0] / sum(cells)),
      ofCells(furthest),
      past.points.map(({ clients }) => clients),
    ], past.seconds);
  }

  #textOf(value, series) {
    if (value === null) {
      return "–";
    }
    return [(share) => `${Math.floor(share * 1000) / 10} %`, (row) => this.#words(row), (all) => text(count(all))][series](value);
  }

  #words(row) {
    const [low, high] = [this.#bounds[row - 1], this.#bounds[row]];
    if (high === undefined) {
      return `more than ${text(count(low))}`;
    }
    const isOne = low === undefined || high - low <= 1;
    return isOne ? text(count(high)) : `${text(count(low + 1))} to ${text(count(high))}`;
  }

  #label(row) {
    const compact = (value) => (value >= 1024 && value % 1024 === 0 ? `${value / 1024}k` : String(value));
    const high = this.#bounds[row];
    return high === undefined ? `>${compact(this.#bounds.at(-1))}` : compact(high);
  }

  #labelled() {
    if (this.#bounds.length === 0) {
      return [];
    }
    const every = Math.ceil(this.#rows / MOST_LABELS);
    return Array.from({ length: Math.ceil(this.#rows / every) }, (_, index) => index * every);
  }

  #limitRow() {
    const row = this.#limit === null ? -1 : this.#bounds.findIndex((bound) => bound >= this.#limit.messages);
    return row === -1 ? 0 : row;
  }

  #draw(plot) {
    const { ctx, bbox } = plot;
    const y = (row) => plot.valToPos(row, "y", true);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const { from, to, cells } of this.#points) {
      const left = Math.round(plot.valToPos(from, "x", true));
      const width = Math.max(1, Math.round(plot.valToPos(to, "x", true)) - left);
      cells?.slice(0, this.#rows).forEach((clients, row) => {
        if (clients > 0) {
          ctx.fillStyle = heat(Math.log10(Math.max(clients, 1)) / Math.log10(this.#most));
          ctx.fillRect(left, Math.round(y(row + 1)), width, Math.round(y(row)) - Math.round(y(row + 1)) - 1);
        }
      });
    }
    if (this.#limitRow() > 0) {
      const { messages, bound } = this.#limit;
      drawLine(plot, y(this.#limitRow() + 1), `queue limit ${text(count(messages))}, by ${bound}`);
    }
    ctx.restore();
  }
}
