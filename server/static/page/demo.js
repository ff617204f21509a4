/** The demo: its controls, and what comes of them. The server says what runs; the page only asks. */

import { problemOf } from "./access.js";
import { Crowd } from "./crowd.js";
import { DemoChart } from "./demochart.js";
import { byId, mark, write } from "./dom.js";
import { story } from "./story.js";

const NUMBERS = ["clients", "slow", "stalled", "rate", "size"];

export class Demo {
  #access;
  #keyNeeded;
  #form = byId("demo-form");
  #button = byId("demo-button");
  #crowd = new Crowd();
  #chart = new DemoChart();
  #isRunning = false;
  #heard = 0; // documents that came by themselves: what was asked for before is older
  #pending = 0; // requests to start, change or stop it
  #told = ""; // the kind of sentence that was announced

  constructor(access, keyNeeded) {
    this.#access = access;
    this.#keyNeeded = keyNeeded;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#isRunning ? this.stop() : this.start();
    });
    this.#form.addEventListener("change", () => this.#isRunning && this.start());
    document.addEventListener("visibilitychange", () => !document.hidden && this.look()); // it may have stopped
  }

  /** Asks whether there is a demo here, and what it does. @returns {Promise<boolean>} Whether there is one. */
  async look() {
    const heard = this.#heard;
    try {
      const response = await this.#access.fetch("demo");
      if (!response.ok) {
        this.#offer(false, await problemOf(response));
        return false;
      }
      const { available, why, max_clients, status } = await response.json();
      this.#offer(available, why);
      this.#form.elements.clients.max = max_clients;
      if (heard === this.#heard) {
        status === null ? this.#end() : this.#adopt(status);
      }
      return available;
    } catch {
      return !byId("demo-here").hidden; // the server is away: nothing new is known
    }
  }

  /** A document that came by itself. */
  show(document) {
    this.#heard += 1;
    if (document.running && !this.#isRunning && this.#pending === 0) {
      this.#adopt(document); // somebody else has started it
    } else {
      this.#show(document);
    }
  }

  /** Starts it, or changes what runs, as the form says. */
  async start() {
    if (!this.#form.reportValidity()) {
      return;
    }
    const numbers = NUMBERS.map((name) => [name, this.#form.elements[name].valueAsNumber]);
    const body = JSON.stringify({ mode: this.#form.elements.mode.value, ...Object.fromEntries(numbers) });
    await this.#ask({ method: "PUT", body, headers: { "Content-Type": "application/json" } });
  }

  async stop() {
    await this.#ask({ method: "DELETE" });
  }

  async #ask(options) {
    this.#pending += 1;
    const heard = this.#heard;
    try {
      const response = await this.#access.fetch("demo", options);
      if (response.status === 401) {
        this.#keyNeeded();
      }
      write(byId("demo-problem"), response.ok ? "" : await problemOf(response));
      if (response.ok && response.status !== 204 && heard === this.#heard) {
        this.#show(await response.json());
      }
    } catch {
      write(byId("demo-problem"), "The server could not be reached.");
    } finally {
      this.#pending -= 1;
    }
  }

  #show(document) {
    this.#isRunning = document.running;
    write(this.#button, document.running ? "Stop" : "Start");
    if (document.running && this.#pending === 0) {
      this.#form.elements.mode.value = document.mode;
    }
    this.#tell(document);
    this.#crowd.show(document);
    this.#chart.add(document, Date.now() / 1000);
    byId("demo-show").hidden = false;
  }

  /** The server knows of none: it is another one now, or nobody has started it. */
  #end() {
    this.#isRunning = false;
    write(this.#button, "Start");
    byId("demo-show").hidden = true;
  }

  #offer(isAvailable, why) {
    byId("demo-here").hidden = !isAvailable;
    byId("demo-why").hidden = isAvailable;
    write(byId("demo-why"), isAvailable ? "" : `There is no demo here: ${why ?? "the server does not say why"}`);
  }

  /** Shows what runs, and puts its numbers into the form. */
  #adopt(status) {
    const { rate, size, clients } = status;
    const ofKind = (kind) => clients.filter((client) => client.kind === kind).length;
    const values = { clients: clients.length, slow: ofKind("slow"), stalled: ofKind("stalled"), rate, size };
    if (status.running && !this.#form.contains(document.activeElement)) {
      NUMBERS.forEach((name) => (this.#form.elements[name].value = values[name]));
    }
    this.#show(status);
  }

  /** The sentence changes four times a second; who listens hears of it when it says something else. */
  #tell(document) {
    const { tone, text } = story(document);
    const sentence = byId("demo-story");
    write(sentence, text);
    for (const one of ["idle", "good", "warn", "bad"]) {
      mark(sentence, one, one === tone);
    }
    const kind = `${document.mode} ${tone}`;
    if (kind !== this.#told) {
      this.#told = kind;
      write(byId("demo-news"), text);
    }
  }
}
