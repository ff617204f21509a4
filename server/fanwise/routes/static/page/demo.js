/** The demo: its controls, and what comes of them. The server says what runs; the page only asks. */

import { problemOf } from "./access.js";
import { Crowd } from "./crowd.js";
import { DemoChart } from "./demochart.js";
import { byId, mark, write } from "./dom.js";
import { story } from "./narrative.js";

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
  #isLost = false; // the server
  #pending = 0; // requests to start, change or stop it
  #asking = null; // the body of the newest of them, until it is answered
  #last = Promise.resolve(); // the newest of them: they go out one after the other, in the order of the clicks
  #told = ""; // the kind of sentence that was announced

  constructor(access, keyNeeded) {
    this.#access = access;
    this.#keyNeeded = keyNeeded;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault(); // Enter: it starts or applies, and never stops anything
      this.start();
    });
    this.#button.addEventListener("click", () => (this.#isRunning ? this.stop() : this.start()));
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
      this.#found();
      this.#offer(available, why);
      this.#bound(max_clients);
      if (heard === this.#heard) {
        status === null ? this.#end() : this.#show(status);
      }
      return available;
    } catch {
      return !byId("demo-here").hidden; // the server is away: nothing new is known
    }
  }

  /** A document that came by itself. */
  show(document) {
    this.#heard += 1;
    this.#show(document);
  }

  /** Whether the server can be heard: "connecting", "open" or "lost". */
  link(state) {
    if (state === "lost") {
      this.#isLost = true;
      this.#say("idle", "The server is away: this is how the demo went last.", "lost");
    } else if (state === "open") {
      this.#found();
    }
  }

  /** The server answers, be it to a request or over the connection: that it could not be reached is of the past. */
  #found() {
    if (this.#isLost) {
      this.#isLost = false;
      write(byId("demo-problem"), "");
    }
  }

  /** Starts it, or changes what runs, as the form says. */
  async start() {
    if (!this.#form.reportValidity()) {
      return;
    }
    const numbers = NUMBERS.map((name) => [name, this.#form.elements[name].valueAsNumber]);
    const body = JSON.stringify({ mode: this.#form.elements.mode.value, ...Object.fromEntries(numbers) });
    if (body !== this.#asking) { // Enter changes a field, and submits the form then
      await this.#ask({ method: "PUT", body, headers: { "Content-Type": "application/json" } });
    }
  }

  async stop() {
    await this.#ask({ method: "DELETE" });
  }

  async #ask(options) {
    this.#pending += 1;
    this.#asking = options.body ?? null;
    this.#last = this.#last.then(() => this.#send(options));
    await this.#last;
    this.#pending -= 1;
    if (this.#pending === 0) {
      this.#asking = null;
    }
  }

  async #send(options) {
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
    }
  }

  #show(document) {
    this.#isRunning = document.running;
    write(this.#button, document.running ? "Stop" : "Start");
    this.#adopt(document);
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

  get #isTypedIn() {
    return NUMBERS.includes(document.activeElement?.name) && this.#form.contains(document.activeElement);
  }

  /** The form says what runs, whoever has changed it, unless something else is typed or asked for. */
  #adopt({ running, mode, rate, size, clients }) {
    if (!running || this.#pending > 0) {
      return;
    }
    this.#form.elements.mode.value = mode;
    if (!this.#isTypedIn) {
      const ofKind = (kind) => clients.filter((client) => client.kind === kind).length;
      this.#fill({ clients: clients.length, slow: ofKind("slow"), stalled: ofKind("stalled"), rate, size });
    }
  }

  /** No more than the server allows, and what stands in the form goes together. */
  #bound(most) {
    for (const name of ["clients", "slow", "stalled"]) {
      this.#form.elements[name].max = most;
    }
    const [clients, slow, stalled] = NUMBERS.map((name) => this.#form.elements[name].valueAsNumber);
    if (clients > most && most > 0 && !this.#isTypedIn) {
      const few = Math.min(stalled, most);
      this.#fill({ clients: most, slow: Math.min(slow, most - few), stalled: few });
    }
  }

  #fill(values) {
    Object.entries(values).forEach(([name, value]) => (this.#form.elements[name].value = value));
  }

  /** The sentence changes four times a second; who listens hears of it when it says something else. */
  #tell(document) {
    const { tone, text } = story(document);
    this.#say(tone, text, `${document.mode} ${tone}`);
  }

  #say(tone, text, kind) {
    const sentence = byId("demo-story");
    write(sentence, text);
    for (const one of ["idle", "good", "warn", "bad"]) {
      mark(sentence, one, one === tone);
    }
    if (kind !== this.#told) {
      this.#told = kind;
      write(byId("demo-news"), text);
    }
  }
}
