/** The charts of the last five minutes, or of the last hour. They can be held, while what comes is kept. */

import { Chart } from "./chart.js";
import { byId, mark } from "./dom.js";
import { bytes, cause, duration, measured, rate, roundBytes, roundCount, roundDuration, text } from "./format.js";
import { column, Strip } from "./heatmap.js";

const GROUP = "past";
const LEAST_SECONDS = 1e-6; // a logarithmic axis has no 0
const LEAST_LATE_SECONDS = 1e-4;
const OTHER = "c8";
const AT_FIRST_SECONDS = 300;

// The likely ones keep their colour, so that one learns it.
const TONES = new Map([
  ["closed_slow", "c8"],
  ["gap_slow", "c2"],
  ["closed_stalled", "c4"],
  ["closed_memory", "c5"],
  ["closed_lost", "c1"],
  ["gap_history", "c3"],
  ["gap_epoch", "c6"],
  ["closed_shutdown", "c7"],
]);

/** A chart of nothing is a line that says so. */
function sayNothing(name, { points }, isSomething) {
  const known = points.filter(({ change }) => change !== null);
  const isNothing = known.length > 0 && !known.some(isSomething);
  byId(`${name}-none`).hidden = !isNothing;
  mark(byId(`chart-${name}`), "nothing", isNothing);
}

export class Charts {
  #bounds = [1];
  #limits = {};
  #ranges = {}; // {name: Points}
  #range = "minutes";
  #held = null; // {name: Points} while they are held
  #newest = null;
  #deliveries = this.#make("deliveries", { textOf: (value) => text(rate(value)), tickOf: roundCount });
  #drops = this.#make("drops", { textOf: (value) => text(rate(value)), tickOf: roundCount });
  #latency = this.#make("latency", {
    isLog: true,
    atLeast: [1e-4, 1e-2],
    textOf: (value) => text(measured(value, this.#bounds)),
    tickOf: roundDuration,
  });
  #loop = this.#make("loop", {
    isLog: true,
    atLeast: [1e-4, 2],
    textOf: (value) => text(duration(value)),
    tickOf: roundDuration,
  });
  #memory = this.#make("memory", { textOf: (value) => text(bytes(value)), tickOf: roundBytes });
  #strip = new Strip();

  constructor() {
    this.#deliveries.setSeries([{ label: "deliveries", tone: "c1", isFilled: true }]);
    this.#drops.setSeries([]);
    this.#latency.setSeries([
      { label: "p99", tone: "c4" },
      { label: "p50", tone: "c3", dash: [4, 3] },
      { label: "p99, catching up", tone: "c2", dash: [2, 3] },
    ]);
    this.#loop.setSeries([{ label: "delay", tone: "c5" }]);
    this.#memory.setSeries([
      { label: "process (RSS)", tone: "c1" },
      { label: "logs", tone: "c3", dash: [4, 3] },
    ]);
  }

  /** The settings that the server answers with, of which some are drawn. */
  limits(limits) {
    this.#limits = limits;
    this.#strip.limit({ messages: limits.queue_messages, bound: "queue_messages" });
    const { ready_lag_seconds: late } = limits;
    const words = `/readyz fails: ready_lag_seconds, ${text(duration(late))}`;
    this.#loop.setThreshold(typeof late === "number" ? { value: late, words } : null);
  }

  /** The traffic decides which of the limits comes first. */
  traffic({ forgiven }) {
    const { queue_messages: messages } = this.#limits;
    this.#strip.limit(forgiven?.limit ?? { messages, bound: "queue_messages" });
  }

  /** Shows `ranges`, {name: Points}, of which one is drawn; `newest` is the newest document. */
  show(ranges, newest) {
    this.#ranges = ranges;
    this.#newest = newest;
    if (this.#held === null) {
      this.#draw();
    }
  }

  /** Draws another range, "minutes" or "hour". */
  range(name) {
    this.#range = name;
    this.#draw();
  }

  /** Holds the charts at a time, or has them go on. */
  hold(at) {
    const held = Object.entries(this.#ranges).map(([name, points]) => [name, points.until(at)]);
    this.#held = at === null ? null : Object.fromEntries(held);
    this.#draw();
  }

  /** Reads all charts at a share of their width, or the newest values; returns the time. */
  point(share) {
    return this.#memory.point(share); // which is always drawn
  }

  /** The hour has become longer. */
  filled() {
    const at = this.#held?.minutes.last?.at ?? null;
    if (at !== null) {
      this.#held.hour = this.#ranges.hour.until(at);
    }
    this.#draw();
  }

  /** The time of the newest point that is drawn; null before the first. */
  get at() {
    return this.#ranges.minutes?.last?.at ?? null;
  }

  #make(name, options) {
    return new Chart(byId(`chart-${name}`), { seconds: AT_FIRST_SECONDS, group: GROUP, ...options });
  }

  #draw() {
    const past = (this.#held ?? this.#ranges)[this.#range];
    if (past === undefined || this.#newest === null) {
      return;
    }
    const { histograms } = this.#newest;
    const set = (chart, ...valuesOf) => chart.setData(past.columns(...valuesOf), past.seconds);
    this.#bounds = histograms.ready_age_seconds.bounds;
    set(this.#deliveries, ({ change }) => change && change.deliveries);
    sayNothing("deliveries", past, ({ change }) => change.deliveries > 0);
    this.#drawDrops(past);
    set(this.#latency, this.#drawn("p99"), this.#drawn("p50"), this.#drawn("late"));
    sayNothing("latency", past, ({ p99, late }) => p99 !== null || late !== null);
    set(this.#loop, ({ loop }) => (loop > 0 ? Math.max(loop, LEAST_LATE_SECONDS) : null)); // 0: nobody has looked
    this.#boundMemory();
    set(this.#memory, ({ rss }) => rss, ({ retained }) => retained);
    this.#strip.show(past, histograms.lag_messages.bounds);
    sayNothing("lag", past, (point) => column(point) !== null);
  }

  /** The bound is each worker's own; sums have none. */
  #boundMemory() {
    const most = this.#limits.memory_bytes;
    const isBound = typeof most === "number" && this.#newest.workers === undefined;
    this.#memory.setThreshold(isBound ? { value: most, words: `memory_bytes, ${text(bytes(most))}` } : null);
  }

  /** Above the last bound there is only the bound to be drawn. */
  #drawn(name) {
    const most = this.#bounds.at(-1);
    return ({ [name]: value }) => (value === null ? null : Math.min(Math.max(value, LEAST_SECONDS), most));
  }

  #drawDrops(past) {
    const causes = [...past.missed().keys()].sort();
    this.#drops.setSeries(causes.map((name) => ({ label: cause(name), tone: TONES.get(name) ?? OTHER })));
    const columns = causes.map((name) => ({ change }) => change && (change.missedBy[name] ?? 0));
    this.#drops.setData(past.columns(...columns), past.seconds);
    sayNothing("drops", past, ({ change }) => Object.keys(change.missedBy).length > 0);
  }
}
