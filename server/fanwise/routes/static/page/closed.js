/** The connections that ended, the latest first. */

import { byId, make, write } from "./dom.js";
import { count, text, timeOfDay } from "./format.js";
import { Table } from "./table.js";

const causeOf = ({ reason }) => String(reason).replaceAll("_", " ");

/** {cause: connections}, the most first. */
function causesOf(rows) {
  const causes = new Map();
  rows.forEach((row) => causes.set(causeOf(row), (causes.get(causeOf(row)) ?? 0) + 1));
  return [...causes].sort(([, one], [, other]) => other - one);
}

export class Closed {
  #table;
  #cause = byId("closed-cause");
  #offered = "";
  #newest = [];

  constructor() {
    const columns = [
      { head: "When", textOf: ({ at }) => timeOfDay(at) },
      { head: "Why", textOf: causeOf },
      { head: "Code", isNumber: true, textOf: ({ code }) => code },
      { head: "Lag left", isNumber: true, textOf: ({ lag }) => text(count(lag)) },
      { head: "Client", textOf: ({ id }) => id },
      { head: "Address", textOf: ({ address }) => address },
      { head: "Worker", isOfWorkers: true, textOf: ({ worker }) => worker ?? "" },
    ];
    this.#cause.addEventListener("change", () => this.#fill());
    this.#table = new Table(byId("closed-table"), byId("closed-empty"), columns, ({ id, at }) => `${id} ${at}`);
  }

  show({ closed_clients }) {
    this.#newest = closed_clients;
    this.#offer();
    this.#fill();
  }

  #fill() {
    const cause = this.#cause.value;
    write(byId("closed-empty"), cause === "" ? "No connection has ended yet." : "None of the latest has ended so.");
    this.#table.show(this.#newest.filter((row) => cause === "" || causeOf(row) === cause));
  }

  /** The causes that there are; somebody who chooses is left alone, and what was chosen stays. */
  #offer() {
    const causes = causesOf(this.#newest);
    const offered = JSON.stringify(causes);
    if (offered === this.#offered || document.activeElement === this.#cause) {
      return;
    }
    this.#offered = offered;
    this.#cause.parentElement.hidden = causes.length === 0;
    const chosen = this.#cause.value;
    const all = make("option", { value: "" }, "all");
    const gone = chosen === "" || causes.some(([cause]) => cause === chosen) ? [] : [[chosen, 0]];
    const options = [...causes, ...gone].map(([cause, number]) => make("option", { value: cause }, `${cause} (${number})`));
    this.#cause.replaceChildren(all, ...options);
    this.#cause.value = chosen;
  }
}
