/** The demo: its button, and the story that comes of it. The server plays the story; the page only asks and shows. */

import { problemOf } from "./access.js";
import { Crowd } from "./crowd.js";
import { byId, mark, write } from "./dom.js";
import { step, story } from "./narrative.js";

const NUMBERS = ["clients", "rate", "size"];
const TONES = ["idle", "good", "warn", "bad"];
const NO_KEY = "This server asks for its key: give it above, and the demo can start.";

export class Demo {
  #access;
  #keyNeeded;
  #form = byId("demo-form");
  #button = byId("demo-button");
  #crowds;
  #document = null; // what is shown; null: no story
  #heard = 0; // documents that came by themselves: what was asked for before is older
  #isLost = false; // the server
  #isKnown = false; // whether there is a demo
  #isAsking = false;
  #told = "idle"; // the kind of sentence that was announced

  constructor(access, keyNeeded) {
    this.#access = access;
    this.#keyNeeded = keyNeeded;
    this.#crowds = ["tutorial", "fanwise"].map((mode) => new Crowd(mode, this.#clients));
    this.#show(null);
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault(); // Enter: it starts, and never stops anything
      this.start();
    });
    this.#form.addEventListener("change", () => this.#document === null && this.#show(null));
    this.#button.addEventListener("click", () => (this.#isRunning ? this.stop() : this.start()));
    document.addEventListener("visibilitychange", () => !document.hidden && this.look()); // it may have ended
  }

  /** Asks whether there is a demo here, and what it does. */
  async look() {
    const heard = this.#heard;
    try {
      const response = await this.#access.fetch("demo");
      if (!response.ok) {
        this.#offer(await problemOf(response));
        return;
      }
      const { available, why, max_clients, status } = await response.json();
      this.#isKnown = true;
      this.#found();
      this.#offer(available ? "" : `There is no demo here: ${why ?? "the server does not say why"}`);
      this.#bound(max_clients);
      if (heard === this.#heard) {
        this.#adopt(status);
      }
    } catch {
      // the server is away: nothing new is known
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
      if (this.#document !== null) {
        this.#say({ tone: "bad", text: "The server is away: this is how the story stood.", kind: "lost" });
      }
      if (!this.#isKnown) {
        this.look(); // it may refuse its figures, and say here why there is no demo either
      }
    } else if (state === "open") {
      this.#found();
    }
  }

  /** Nothing can be started without the key. */
  needsKey() {
    this.#offer(NO_KEY);
  }

  async start() {
    if (this.#form.reportValidity() && !this.#isRunning) {
      // A default that was left alone is the server's to choose: it may allow less.
      const changed = NUMBERS.map((name) => this.#form.elements[name]).filter((one) => one.value !== one.defaultValue);
      const body = JSON.stringify(Object.fromEntries(changed.map((one) => [one.name, one.valueAsNumber])));
      await this.#ask({ method: "PUT", body, headers: { "Content-Type": "application/json" } });
    }
  }

  async stop() {
    await this.#ask({ method: "DELETE" });
  }

  get #isRunning() {
    return this.#document?.running ?? false;
  }

  get #clients() {
    const { valueAsNumber, validity, defaultValue } = this.#form.elements.clients;
    return validity.valid ? valueAsNumber : Number(defaultValue);
  }

  /** Two clicks in a row are one. */
  async #ask(options) {
    if (this.#isAsking) {
      return;
    }
    this.#isAsking = true;
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
      this.#isAsking = false;
    }
  }

  /** The server answers, be it to a request or over the connection: that it could not be reached is of the past. */
  #found() {
    if (this.#isLost) {
      this.#isLost = false;
      write(byId("demo-problem"), "");
      this.#show(this.#isRunning ? null : this.#document);
    }
  }

  /** What the server plays: nothing, perhaps, while the page shows a story whose end it has not seen. */
  #adopt(status) {
    if (status !== null || this.#isRunning) {
      this.#show(status);
    }
  }

  #show(document) {
    this.#document = document;
    write(this.#button, document === null ? "Start" : document.running ? "Stop" : "Play again");
    mark(byId("demo"), "playing", this.#isRunning);
    this.#mark(document === null ? -1 : step(document));
    this.#say(story(document));
    this.#crowds.forEach((crowd) => (document === null ? crowd.clear(this.#clients) : crowd.show(document)));
  }

  #mark(present) {
    for (const [index, one] of [...byId("demo-steps").children].entries()) {
      mark(one, "done", index < present);
      mark(one, "now", index === present);
      index === present ? one.setAttribute("aria-current", "step") : one.removeAttribute("aria-current");
    }
  }

  #offer(why) {
    byId("demo-here").hidden = this.#button.hidden = why !== "";
    byId("demo-why").hidden = why === "";
    write(byId("demo-why"), why);
  }

  /** No more than the server allows. */
  #bound(most) {
    const field = this.#form.elements.clients;
    field.max = most;
    if (field.valueAsNumber > most && most >= Number(field.min)) {
      field.value = field.defaultValue = most;
      this.#document === null && this.#show(null);
    }
  }

  /** The sentence changes four times a second; who listens hears of it when it says something else. */
  #say({ tone, text, kind }) {
    const sentence = byId("demo-story");
    write(sentence, text);
    TONES.forEach((one) => mark(sentence, one, one === tone));
    if (kind !== this.#told) {
      this.#told = kind;
      write(byId("demo-news"), text);
    }
  }
}
