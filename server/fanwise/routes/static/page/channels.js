/** The busiest channels. */

import { byId } from "./dom.js";
import { bytes, count, rate, text } from "./format.js";
import { Table } from "./table.js";

const number = (head, textOf) => ({ head, isNumber: true, textOf });

const PROGRAMS = { demo: "the demo's", doctor: "the doctor's" };

/** Channels of our own programs say so. */
function nameOf({ name, program }) {
  const whose = program === undefined || program === null ? "" : ` (${PROGRAMS[program] ?? program})`;
  return `${name}${whose}`;
}

export class Channels {
  #table;

  constructor() {
    const columns = [
      { head: "Channel", textOf: nameOf },
      number("Clients", ({ clients }) => text(count(clients))),
      number("Up to date", ({ ready }) => text(count(ready))),
      number("Published", (row) => text(rate(row.publications_per_second))),
      number("Retained", ({ retained }) => text(count(retained))),
      number("Bytes", ({ retained_bytes }) => text(bytes(retained_bytes))),
      number("Head", ({ head }) => text(count(head))),
      number("Skipped", ({ skipped }) => text(count(skipped))),
      { ...number("Workers", ({ workers }) => text(count(workers?.length))), isOfWorkers: true },
    ];
    this.#table = new Table(byId("channels-table"), byId("channels-empty"), columns, ({ name }) => name);
  }

  show({ channels }) {
    this.#table.show(channels);
  }
}
