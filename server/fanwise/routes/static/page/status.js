/** The header: which server this is, and whether what the page shows is of now. In words, and told when it changes. */

import { byId, mark, write } from "./dom.js";
import { age, plural, timeOfDay } from "./format.js";

const SILENT_MS = 3500; // three documents have not come

export class Status {
  #link = "connecting";
  #since = Date.now() / 1000;
  #heardMs = null; // when a document came last, on a clock that nobody sets
  #needsKey = false;
  #ready = true;
  #draining = false;
  #isKnown = false; // whether there has been a document

  constructor() {
    setInterval(() => this.#show(), 1000);
    this.#show();
  }

  link(state) {
    if ((state === "lost") !== (this.#link === "lost")) {
      this.#since = Date.now() / 1000;
      this.#heardMs = null;
    }
    this.#link = this.#link === "lost" && state === "connecting" ? "lost" : state; // an attempt is no news
    this.#needsKey = false;
    this.#show();
  }

  needsKey() {
    this.#needsKey = true;
    this.#show();
  }

  heard({ state, uptime_seconds, workers, silent }) {
    this.#heardMs = performance.now();
    this.#ready = state.ready;
    this.#draining = state.draining;
    write(byId("uptime"), `up ${age(uptime_seconds)},`);
    if (workers !== undefined) {
      write(byId("runtime"), plural(workers.length, "worker") + (silent.length > 0 ? `, ${silent.length} silent` : ""));
    }
    this.#show();
  }

  server({ version, python, loop, pid }) {
    write(byId("version"), version);
    write(byId("runtime"), `Python ${python}, ${loop}, process ${pid}`);
    this.#isKnown = true;
    this.#show();
  }

  #show() {
    const [state, words] = this.#words();
    const node = byId("connection");
    write(node, words);
    for (const one of ["live", "waiting", "lost"]) {
      mark(node, one, one === state);
    }
    mark(document.body, "stale", state !== "live");
    mark(document.body, "lost", state === "lost");
    mark(document.body, "unknown", !this.#isKnown || this.#needsKey);
    document.title = state === "live" ? "Fanwise" : `Fanwise (${state})`;
  }

  #words() {
    if (this.#needsKey) {
      return ["waiting", "waiting for the key"];
    }
    if (this.#link === "lost") {
      return ["lost", `lost since ${timeOfDay(this.#since)}, trying again`];
    }
    if (this.#heardMs === null) {
      return ["waiting", "waiting for the server"];
    }
    if (performance.now() - this.#heardMs > SILENT_MS) {
      return ["waiting", "waiting: the server says nothing"];
    }
    return ["live", this.#draining ? "live, the server is draining" : this.#ready ? "live" : "live, but not ready"];
  }
}
