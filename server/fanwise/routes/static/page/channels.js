/** The busiest channels. */

import { byId } from "./dom.js";
import { bytes, count, rate, text } from "./format.js";
import { Table } from "./table.js";

const number = (head, textOf) => ({ head, isNumber: true, textOf });

export class Channels {
  #table;

  constructor() {
    const columns = [
      { head: "Channel", textOf: ({ name }) => name },
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
