/**
 * What the server tells about itself: `GET stats` for each connection, then the channels of `live`. It comes back by
 * itself, whatever happens to the server.
 *
 * `told` gets
 *   welcomed(document)   the whole of /stats, of all workers, when a connection is made
 *   stats(document)      once a second
 *   lists(document)      once a second, while the page is seen
 *   demo(document)       while the demo runs and the page is seen
 *   link(state)          "connecting", "open" or "lost"
 *   keyNeeded(refused)   the server asks for a key; or for another one
 */

import { FanwiseClient } from "../fanwise.js";

const AGAIN_MS = 3000;
const MAX_BACKOFF_MS = 5000; // somebody is looking
const FROM_THE_BEGINNING = { epoch: "none", offset: 0 }; // all that the log retains
const ONLY_WHEN_SEEN = ["lists", "demo"];

export class Feed {
  #access;
  #told;
  #client = null;
  #subscribed = new Set(); // of ONLY_WHEN_SEEN
  #timer = null;
  #isAsking = false;

  constructor(access, told) {
    this.#access = access;
    this.#told = told;
    document.addEventListener("visibilitychange", () => this.#lookOrNot());
  }

  /** Asks the server who it is, and connects if there is no connection. */
  async start() {
    if (this.#isAsking) {
      return;
    }
    this.#isAsking = true;
    clearTimeout(this.#timer);
    try {
      await this.#ask();
    } catch {
      this.#later(); // it cannot be reached, or not with such a key
    } finally {
      this.#isAsking = false;
    }
  }

  async #ask() {
    const response = await this.#access.fetch("stats?scope=all");
    if (response.status === 401) {
      const refused = this.#access.key !== undefined;
      this.#access.forget();
      this.#close();
      this.#told.keyNeeded(refused);
    } else if (response.ok) {
      this.#told.welcomed(await response.json());
      this.#connect();
    } else {
      this.#later();
    }
  }

  /** Without a client nothing else comes back by itself. */
  #later() {
    if (this.#client === null) {
      this.#told.link("lost");
      this.#timer = setTimeout(() => this.start(), AGAIN_MS);
    }
  }

  #connect() {
    if (this.#client !== null) {
      return;
    }
    this.#told.link("connecting");
    let wasLost = false;
    const client = new FanwiseClient("live", {
      apiKey: this.#access.key,
      transport: "websocket",
      maxBackoffMs: MAX_BACKOFF_MS,
      onGap: () => {}, // a server that was started anew, or a page that was away for long: the charts show it
      onState: (state) => {
        if (client === this.#client) {
          this.#changed(state, wasLost);
          wasLost ||= state === "waiting";
        }
      },
    });
    this.#client = client;
    this.#subscribe("stats", FROM_THE_BEGINNING);
    this.#lookOrNot();
  }

  #close() {
    const client = this.#client;
    this.#client = null;
    this.#subscribed.clear();
    client?.close();
  }

  #changed(state, wasLost) {
    if (state === "closed") {
      this.#close();
      this.#later();
      return;
    }
    this.#told.link(state === "waiting" ? "lost" : state);
    if (state === "waiting" || (state === "open" && wasLost)) {
      this.start(); // it may ask for another key now; it may be another server now
    }
  }

  #subscribe(channel, since) {
    const onMessage = ({ data }) => this.#told[channel](data);
    this.#client.subscribe(channel, { since, onMessage }).catch((error) => {
      if (error.code !== "unsubscribed" && error.code !== "closed") {
        console.warn(`live: ${channel}: ${error.message}`);
      }
    });
  }

  /** Nobody makes lists for a page in the background. */
  #lookOrNot() {
    if (this.#client === null) {
      return;
    }
    for (const channel of ONLY_WHEN_SEEN) {
      if (!document.hidden && !this.#subscribed.has(channel)) {
        this.#subscribed.add(channel);
        this.#subscribe(channel);
      } else if (document.hidden && this.#subscribed.delete(channel)) {
        this.#client.unsubscribe(channel);
      }
    }
  }
}
