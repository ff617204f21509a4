/** Two chat boxes: two clients of the plain dialect, each with a WebSocket of its own, as any program would open it. */

import { socketUrl } from "./access.js";
import { byId, make } from "./dom.js";
import { onNextFrame } from "./frames.js";

const MOST_LINES = 100;
const FIRST_CEILING_MS = 500;
const LAST_CEILING_MS = 10_000;

const FINAL_CODES = new Set([1000, 1002, 1003, 1007, 1008, 1009, 1010]); // as in fanwise.js
const mayReconnect = (code) => !FINAL_CODES.has(code) && !(code >= 4500 && code <= 4999);

class Box {
  #log;
  #input;
  #button;
  #socket = null;
  #attempts = 0;
  #timer = null;
  #lines = []; // [{text, isNote}] that wait for the next frame

  constructor(root) {
    this.#log = root.querySelector(".log");
    this.#input = root.querySelector("input");
    this.#button = root.querySelector("button");
    root.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  get input() {
    return this.#input;
  }

  open() {
    const socket = new WebSocket(socketUrl("ws?channel=chat"));
    this.#socket = socket;
    socket.onopen = () => {
      this.#attempts = 0;
      this.#note("connected");
      this.#allow(true);
    };
    socket.onmessage = ({ data }) => this.#line(typeof data === "string" ? data : `${data.size} bytes, binary`, false);
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
  }

  close() {
    clearTimeout(this.#timer);
    this.#attempts = 0;
    if (this.#socket !== null) {
      this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
      this.#socket.close(1000);
      this.#socket = null;
      this.#note("left");
    }
    this.#allow(false);
  }

  #send() {
    const text = this.#input.value;
    if (text !== "" && this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(text);
      this.#input.value = "";
    }
  }

  #lost(code, reason) {
    const wasOpen = this.#socket !== null && !this.#input.readOnly;
    this.#allow(false);
    const why = `${code} ${reason}`.trimEnd();
    if (!mayReconnect(code)) {
      this.#socket = null;
      this.#note(`closed: ${why}. It will not come back by itself`);
      return;
    }
    if (wasOpen || this.#attempts === 0) {
      this.#note(`${wasOpen ? "lost" : "no connection"}: ${why}. It comes back by itself`);
    }
    const waitMs = Math.random() * Math.min(LAST_CEILING_MS, FIRST_CEILING_MS * 2 ** this.#attempts);
    this.#attempts += 1;
    this.#timer = setTimeout(() => this.open(), waitMs);
  }

  /** Read-only rather than disabled, so that nobody loses the focus while a connection comes back. */
  #allow(maySend) {
    this.#input.readOnly = !maySend;
    this.#button.setAttribute("aria-disabled", String(!maySend));
  }

  #note(text) {
    this.#line(text, true);
  }

  #line(text, isNote) {
    this.#lines.push({ text, isNote });
    this.#lines.splice(0, this.#lines.length - MOST_LINES);
    onNextFrame(this.#flush);
  }

  #flush = () => {
    const log = this.#log;
    const list = log.firstElementChild;
    const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
    list.append(...this.#lines.map(({ text, isNote }) => make("li", { className: isNote ? "note" : "" }, text)));
    this.#lines = [];
    while (list.childElementCount > MOST_LINES) {
      list.firstElementChild.remove();
    }
    if (isAtEnd) {
      log.scrollTop = log.scrollHeight;
    }
  };
}

export class Chat {
  #boxes = ["chat-a", "chat-b"].map((id) => new Box(byId(id)));
  #button = byId("chat-button");
  #isOpen = false;

  constructor() {
    this.#button.addEventListener("click", () => this.toggle());
  }

  toggle() {
    this.#isOpen = !this.#isOpen;
    byId("chat-boxes").hidden = false;
    this.#boxes.forEach((box) => (this.#isOpen ? box.open() : box.close()));
    this.#button.textContent = this.#isOpen ? "Disconnect both" : "Connect both";
  }

  /** Connects, unless it is, and goes there. */
  enter() {
    if (!this.#isOpen) {
      this.toggle();
    }
    this.#boxes[0].input.focus();
  }
}
