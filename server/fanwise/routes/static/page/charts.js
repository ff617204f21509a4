/** The four charts of the last five minutes. */

import { Chart } from "./chart.js";
import { byId, mark } from "./dom.js";
import { cause, measured, rate, roundCount, roundDuration, text } from "./format.js";
import { SECONDS } from "./history.js";
import { column, Strip } from "./heatmap.js";
import { effectiveLimit } from "./numbers.js";

const GROUP = "past";
const LEAST_SECONDS = 1e-6; // a logarithmic axis has no 0
const OTHER = "c8";

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
  #deliveries = this.#make("chart-deliveries", { textOf: (value) => text(rate(value)), tickOf: roundCount });
  #drops = this.#make("chart-drops", { textOf: (value) => text(rate(value)), tickOf: roundCount });
  #latency = this.#make("chart-latency", {
    isLog: true,
    atLeast: [1e-4, 1e-2],
    textOf: (value) => text(measured(value, this.#bounds)),
    tickOf: roundDuration,
  });
  #strip = new Strip();

  constructor() {
    this.#deliveries.setSeries([{ label: "deliveries", tone: "c1", isFilled: true }]);
    this.#drops.setSeries([]);
    this.#latency.setSeries([
      { label: "p99", tone: "c4" },
      { label: "p50", tone: "c3", dash: [4, 3] },
      { label: "p99, catching up", tone: "c2", dash: [2, 3] },
    ]);
  }

  limits(limits) {
    this.#limits = limits;
    this.#strip.limit({ messages: limits.queue_messages, bound: "queue_messages" });
  }

  /** The traffic decides which of the limits comes first. */
  traffic(lists) {
    this.#strip.limit(effectiveLimit(this.#limits, lists));
  }

  show(past) {
    this.#bounds = past.newest.histograms.ready_age_seconds.bounds;
    this.#deliveries.setData(past.columns(({ change }) => change && change.deliveries));
    sayNothing("deliveries", past, ({ change }) => change.deliveries > 0);
    this.#showDrops(past);
    this.#latency.setData(past.columns(this.#drawn("p99"), this.#drawn("p50"), this.#drawn("late")));
    sayNothing("latency", past, ({ p99, late }) => p99 !== null || late !== null);
    this.#strip.show(past);
    sayNothing("lag", past, (point) => column(point) !== null);
  }

  #make(id, options) {
    return new Chart(byId(id), { seconds: SECONDS, group: GROUP, ...options });
  }

  /** Above the last bound there is only the bound to be drawn. */
  #drawn(name) {
    const most = this.#bounds.at(-1);
    return ({ [name]: value }) => (value === null ? null : Math.min(Math.max(value, LEAST_SECONDS), most));
  }

  #showDrops(past) {
    const causes = [...past.missed().keys()].sort();
    this.#drops.setSeries(causes.map((name) => ({ label: cause(name), tone: TONES.get(name) ?? OTHER })));
    this.#drops.setData(past.columns(...causes.map((name) => ({ change }) => change && (change.missedBy[name] ?? 0))));
    sayNothing("drops", past, ({ change }) => Object.keys(change.missedBy).length > 0);
  }
}
