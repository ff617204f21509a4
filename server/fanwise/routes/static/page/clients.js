/** The clients that are behind, and the button that closes one. */

import { problemOf } from "./access.js";
import { byId, make, mark, write } from "./dom.js";
import { bytes, count, duration, plural, text, timeOfDay } from "./format.js";
import { Table } from "./table.js";

const SURE_MS = 5000; // for so long a button asks
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
  #now = { clients: 0, behind: 0 };
  #newest = [];

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
    byId("clients-all").addEventListener("change", () => this.#fill());
    this.#table = new Table(byId("clients-table"), byId("clients-empty"), columns, ({ id }) => id);
  }

  /** How many there are in all, of which the lists have some. */
  count(now) {
    this.#now = now;
    this.#tell();
  }

  show({ at, clients }) {
    this.#at = at;
    this.#newest = clients;
    this.#fill();
  }

  #fill() {
    const isAll = byId("clients-all").checked;
    this.#table.show(this.#newest.filter(({ state }) => isAll || state !== "ready"));
    this.#tell();
  }

  #tell() {
    const shown = this.#newest.filter(({ state }) => state !== "ready").length;
    const ready = Math.max(0, this.#now.clients - Math.max(this.#now.behind, shown));
    const are = ready === 1 ? "is" : "are";
    write(byId("clients-empty"), ready === 0 ? "Nobody is connected." : `${plural(ready, "client")} ${are} up to date, and nobody is behind.`);
    const more = this.#now.behind > shown && shown > 0 ? [`${plural(this.#now.behind - shown, "other is", "others are")} behind, too`] : [];
    const others = ready > 0 && shown > 0 ? [`${plural(ready, "other")} ${are} up to date`] : [];
    write(byId("clients-others"), more.concat(others).map((words) => `${words}.`).join(" "));
  }

  #pausedSince({ behind_seconds }) {
    return behind_seconds === null ? "–" : timeOfDay(this.#at - behind_seconds);
  }

  #button(id) {
    const button = make("button", { type: "button", className: "small" });
    this.#ask(id, button, false);
    button.addEventListener("click", ({ detail }) => this.#press(id, button, detail > 1));
    button.addEventListener("blur", () => this.#ask(id, button, false));
    return button;
  }

  /** The first press asks, the second one means it; a double click is one press. */
  #press(id, button, isDouble) {
    if (button.getAttribute("aria-disabled") === "true" || isDouble) {
      return;
    }
    const isSure = button.classList.contains("sure");
    this.#ask(id, button, !isSure);
    if (isSure) {
      this.#disconnect(id, button);
    } else {
      setTimeout(() => this.#ask(id, button, false), SURE_MS);
    }
  }

  #ask(id, button, isAsking) {
    mark(button, "sure", isAsking);
    write(button, isAsking ? "Really?" : "Disconnect");
    button.setAttribute("aria-label", isAsking ? `Really disconnect client ${id}?` : `Disconnect client ${id}`);
  }

  /** The button keeps the focus: a disabled one would lose it. */
  async #disconnect(id, button) {
    button.setAttribute("aria-disabled", "true");
    const isClosed = await this.#close(id);
    if (!isClosed) {
      button.removeAttribute("aria-disabled");
    }
  }

  async #close(id) {
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
