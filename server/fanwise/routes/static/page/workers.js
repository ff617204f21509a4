/** The workers behind one engine; the section is seen only where there is an engine. */

import { byId, mark, write } from "./dom.js";
import { age, bytes, count, duration, rate, text } from "./format.js";
import { Table } from "./table.js";

const number = (head, textOf) => ({ head, isNumber: true, textOf });

/** What a worker did between two documents; nothing where it has said nothing in between. */
function rates(before, after) {
  const seconds = after.uptime_seconds - (before?.uptime_seconds ?? after.uptime_seconds);
  const of = (name) => (seconds > 0 ? Math.max(0, after[name] - before[name]) / seconds : null);
  return { published: of("publications"), delivered: of("deliveries"), cpu: of("cpu_seconds") };
}

function stateOf({ isSilent, draining, ready }) {
  return isSilent ? "silent" : draining ? "draining" : ready ? "ready" : "not ready";
}

export class Workers {
  #table;
  #before = new Map(); // {worker: its latest figures}
  #shown = null; // the document

  constructor() {
    const columns = [
      { head: "Worker", textOf: ({ worker }) => worker },
      { head: "Host", textOf: ({ host }) => host },
      number("Process", ({ pid }) => pid),
      { head: "State", textOf: stateOf },
      number("Clients", ({ clients }) => text(count(clients))),
      number("Behind", ({ behind }) => text(count(behind))),
      number("Published", ({ published }) => text(rate(published))),
      number("Delivered", ({ delivered }) => text(rate(delivered))),
      number("CPU", ({ cpu }) => (cpu === null ? "–" : `${Math.round(cpu * 100)} %`)),
      number("Loop lag", ({ loop_lag_seconds }) => text(duration(loop_lag_seconds))),
      number("Memory", ({ rss_bytes }) => text(bytes(rss_bytes))),
      number("Up", ({ uptime_seconds }) => age(uptime_seconds)),
      { head: "Version", textOf: ({ version }) => version },
    ];
    this.#table = new Table(byId("workers-table"), byId("workers-empty"), columns, ({ worker }) => worker);
  }

  /** Shows the workers of a document of the stream. */
  show(stats) {
    const { workers, silent } = stats;
    mark(document.body, "has-workers", workers !== undefined);
    if (workers === undefined || stats === this.#shown) {
      return;
    }
    this.#shown = stats;
    const rows = workers.map((one) => ({
      ...one,
      ...rates(this.#before.get(one.worker), one),
      isSilent: silent.includes(one.worker),
    }));
    this.#before = new Map(workers.map((one) => [one.worker, one]));
    this.#table.show(rows);
    write(byId("workers-silent"), silent.length > 0 ? `No answer within 300 ms: ${silent.join(", ")}` : "");
  }
}
