/** The connections that ended, the latest first. */

import { byId } from "./dom.js";
import { count, text, timeOfDay } from "./format.js";
import { Table } from "./table.js";

export class Closed {
  #table;

  constructor() {
    const columns = [
      { head: "When", textOf: ({ at }) => timeOfDay(at) },
      { head: "Client", textOf: ({ id }) => id },
      { head: "Address", textOf: ({ address }) => address },
      { head: "Why", textOf: ({ reason }) => String(reason).replaceAll("_", " ") },
      { head: "Code", isNumber: true, textOf: ({ code }) => code },
      { head: "Lag left", isNumber: true, textOf: ({ lag }) => text(count(lag)) },
      { head: "Worker", isOfWorkers: true, textOf: ({ worker }) => worker ?? "" },
    ];
    this.#table = new Table(byId("closed-table"), byId("closed-empty"), columns, ({ id, at }) => `${id} ${at}`);
  }

  show({ closed_clients }) {
    this.#table.show(closed_clients);
  }
}
