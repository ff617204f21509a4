/** Asks for the key of a server that has one. */

import { byId, write } from "./dom.js";

const POSSIBLE = /^[!-~]+$/; // a header carries nothing else, and no server has another

export class KeyForm {
  #form = byId("key-form");
  #input = byId("key");
  #problem = byId("key-problem");

  /** `onKey(key)` is called with what was typed. */
  constructor(onKey) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const key = this.#input.value.trim();
      if (!POSSIBLE.test(key)) {
        this.ask(true);
        return;
      }
      this.#form.hidden = true;
      this.#input.value = "";
      onKey(key);
    });
  }

  ask(refused) {
    write(this.#problem, refused ? "That is not this server's key." : "");
    if (this.#form.hidden || refused) {
      this.#form.hidden = false;
      this.#input.focus();
    }
  }

  hide() {
    this.#form.hidden = true;
  }
}
