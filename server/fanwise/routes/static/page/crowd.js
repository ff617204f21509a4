/** One side of the demo: a big number, a cell for each client, and a line for the one that stops reading. */

import { DemoChart } from "./demochart.js";
import { byId, make, mark, write } from "./dom.js";
import { count } from "./format.js";
import { isFrozen, look, lookOfStopping, note, ofStopping, words } from "./narrative.js";

const NOTHING = "–";
const BEFORE = "The marked client is the one that will stop.";

export class Crowd {
  #mode;
  #side;
  #cells;
  #chart;
  #nodes = []; // a cell for each client, the one that stops in the middle

  /** @param {"tutorial"|"fanwise"} mode @param {number} number of clients that are expected */
  constructor(mode, number) {
    this.#mode = mode;
    this.#side = byId(`side-${mode}`);
    this.#cells = this.#find(".cells");
    this.#chart = new DemoChart(this.#find("canvas"));
    this.clear(number);
  }

  /** As before a story. */
  clear(number) {
    this.#resize(number);
    this.#nodes.forEach((node, index) => (node.className = index === this.#middle ? "cell one away" : "cell away"));
    this.#write({ value: NOTHING, unit: "", said: "", one: BEFORE, label: `${number} clients, not connected yet.` });
    mark(this.#side, "frozen", false);
    mark(this.#side, "flowing", false);
    this.#chart.clear();
  }

  show(document) {
    const side = document.sides[this.#mode];
    this.#resize(side.clients.length + 1);
    const shown = side.clients.map((client) => `cell ${look(client, document)}`);
    shown.splice(this.#middle, 0, `cell one ${lookOfStopping(side.stopping)}`);
    this.#nodes.forEach((node, index) => node.className !== shown[index] && (node.className = shown[index]));
    const isStill = isFrozen(document, side);
    const value = count(isStill ? 0 : side.healthy.received_per_second)[0];
    const label = words(document, side);
    this.#write({ value, unit: "/s", said: note(document, side), one: ofStopping(document, side, this.#mode), label });
    mark(this.#side, "frozen", isStill);
    mark(this.#side, "flowing", side.clients.some((client) => look(client, document) === "served"));
    this.#chart.add(document, side, isStill);
  }

  get #middle() {
    return Math.floor(this.#nodes.length / 2);
  }

  #find(selector) {
    return this.#side.querySelector(selector);
  }

  #resize(number) {
    if (number !== this.#nodes.length) {
      this.#nodes = Array.from({ length: number }, () => make("span", { className: "cell away" }));
      this.#cells.replaceChildren(...this.#nodes);
      this.#cells.style.setProperty("--columns", Math.ceil(Math.sqrt(number)));
      mark(this.#cells, "many", number > 64);
    }
  }

  #write({ value, unit, said, one, label }) {
    write(this.#find(".value"), value);
    write(this.#find(".unit"), unit);
    write(this.#find(".note"), said);
    write(this.#find(".one-says"), one);
    this.#cells.setAttribute("aria-label", label);
  }
}
