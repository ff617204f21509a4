/** The clients that are furthest behind, and the button that closes one. */

import { problemOf } from "./access.js";
import { byId, make, write } from "./dom.js";
import { bytes, count, duration, text, timeOfDay } from "./format.js";
import { Table } from "./table.js";

const WAY = { direct: "direct", transport: "transport", asgi: "plain ASGI" };

function channelsOf({ channels, subscriptions }) {
  const more = subscriptions - channels.length;
  return channels.join(", ") + (more > 0 ? `, and ${more} more` : "");
}

const lagBytesOf = ({ lag_bytes, buffered_bytes }) => text(bytes(lag_bytes + buffered_bytes));

export class Clients {
  #access;
  #keyNeeded;
  #table;
  #at = 0; // when the rows were made

  constructor(access, keyNeeded) {
    this.#access = access;
    this.#keyNeeded = keyNeeded;
    const columns = [
      { head: "Client", textOf: ({ id }) => id },
      { head: "Lag, messages", isNumber: true, textOf: ({ lag }) => text(count(lag)) },
      { head: "Lag, bytes", isNumber: true, textOf: lagBytesOf },
      { head: "Behind for", isNumber: true, textOf: ({ behind_seconds }) => text(duration(behind_seconds)) },
      { head: "Paused since", isNumber: true, textOf: (row) => this.#pausedSince(row) },
      { head: "Ping RTT", isNumber: true, textOf: ({ rtt_seconds }) => text(duration(rtt_seconds)) },
      { head: "Address", textOf: ({ address }) => address },
      { head: "Channels", textOf: channelsOf },
      { head: "Dialect, path", textOf: ({ dialect, path }) => `${dialect}, ${WAY[path] ?? path}` },
      { head: "Worker", isOfWorkers: true, textOf: ({ worker }) => worker ?? "" },
      { head: "Action", makeCell: (id) => this.#button(id) },
    ];
    this.#table = new Table(byId("clients-table"), byId("clients-empty"), columns, ({ id }) => id);
  }

  show({ at, clients }) {
    this.#at = at;
    this.#table.show(clients);
  }

  #pausedSince({ behind_seconds }) {
    return behind_seconds === null ? "–" : timeOfDay(this.#at - behind_seconds);
  }

  #button(id) {
    const button = make("button", { type: "button", className: "small" }, "Disconnect");
    button.setAttribute("aria-label", `Disconnect client ${id}`);
    button.addEventListener("click", () => this.#disconnect(id, button));
    return button;
  }

  /** The button keeps the focus: a disabled one would lose it. */
  async #disconnect(id, button) {
    if (button.getAttribute("aria-disabled") === "true") {
      return;
    }
    button.setAttribute("aria-disabled", "true");
    const isClosed = await this.#ask(id);
    if (!isClosed) {
      button.removeAttribute("aria-disabled");
    }
  }

  async #ask(id) {
    try {
      const response = await this.#access.fetch(`clients/${encodeURIComponent(id)}`, { method: "DELETE" });
      if (response.status === 401) {
        this.#keyNeeded();
      }
      const isGone = response.ok || response.status === 404;
      const fate = response.ok ? "was closed." : isGone ? "has gone already." : "was not closed: ";
      this.#report(`Client ${id} ${fate}${isGone ? "" : await problemOf(response)}`);
      return isGone;
    } catch {
      this.#report(`Client ${id}: the server could not be reached, so it may or may not have been closed.`);
      return false;
    }
  }

  #report(sentence) {
    write(byId("clients-outcome"), sentence);
  }
}
