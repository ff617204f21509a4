/**
 * A table whose rows come anew each second. Rows are kept and filled in place, by their keys, so that nobody loses the
 * place: while the pointer is over the rows their order stays and rows that go are only marked, and a row that has the
 * focus is never moved or taken away.
 *
 * A column is `{head, textOf(row)}`, with `isNumber`; or `{head, makeCell(keyOf)}` for what is no text. One with
 * `isOfWorkers` is seen only where there are several workers.
 */

import { make, mark, write } from "./dom.js";

const MOST_ROWS = 400; // while the order is held, rows only come
const LONG = 24; // characters

const classOf = ({ isNumber, isOfWorkers }) => [isNumber && "n", isOfWorkers && "of-workers"].filter(Boolean).join(" ");

export class Table {
  #columns;
  #keyOf;
  #body;
  #empty;
  #region;
  #rows = new Map(); // {key: <tr>}
  #isHeld = false;
  #newest = [];

  /** `table` has a caption and nothing else; `empty` is shown instead when there are no rows. */
  constructor(table, empty, columns, keyOf) {
    this.#columns = columns;
    this.#keyOf = keyOf;
    this.#empty = empty;
    this.#region = table.parentElement;
    this.#region.hidden = true;
    const heads = columns.map((one) => make("th", { scope: "col", className: classOf(one) }, one.head));
    this.#body = make("tbody");
    table.append(make("thead", {}, make("tr", {}, ...heads)), this.#body);
    this.#body.addEventListener("pointerenter", ({ pointerType }) => this.#hold(pointerType === "mouse"));
    this.#body.addEventListener("pointerleave", () => this.#hold(false));
    this.#body.addEventListener("focusout", () => setTimeout(() => this.show(this.#newest)));
  }

  /** Shows these rows, in this order. */
  show(rows) {
    this.#newest = rows;
    const byKey = new Map(rows.map((row) => [this.#keyOf(row), row]));
    const order = this.#isHeld && this.#rows.size < MOST_ROWS ? this.#held(byKey) : [...byKey.keys()];
    const kept = new Set(order);
    for (const [key, node] of this.#rows) {
      const isGone = !byKey.has(key);
      mark(node, "gone", isGone);
      if (!kept.has(key)) {
        this.#leave(key, node);
      }
    }
    byKey.forEach((row, key) => this.#fill(key, row));
    this.#arrange(order.map((key) => this.#rows.get(key)));
    this.#empty.hidden = this.#rows.size > 0;
    this.#region.hidden = this.#rows.size === 0;
  }

  #hold(isHeld) {
    if (isHeld !== this.#isHeld) {
      this.#isHeld = isHeld;
      this.show(this.#newest);
    }
  }

  #held(byKey) {
    const here = [...this.#body.children].map((node) => node.dataset.key);
    return [...here, ...[...byKey.keys()].filter((key) => !this.#rows.has(key))];
  }

  #leave(key, node) {
    if (!node.contains(document.activeElement)) {
      node.remove();
      this.#rows.delete(key);
    }
  }

  #fill(key, row) {
    let node = this.#rows.get(key);
    if (node === undefined) {
      node = make("tr");
      node.dataset.key = key;
      node.append(...this.#columns.map((column, index) => this.#makeCell(column, index, key)));
      this.#rows.set(key, node);
    }
    this.#columns.forEach(({ textOf }, index) => {
      if (textOf !== undefined) {
        this.#write(node.children[index], textOf(row));
      }
    });
  }

  /** What does not fit is cut, and shown whole when pointed at. */
  #write(cell, text) {
    write(cell, text);
    const title = cell.textContent.length > LONG ? cell.textContent : "";
    if (cell.title !== title) {
      title === "" ? cell.removeAttribute("title") : (cell.title = title);
    }
  }

  #makeCell(column, index, key) {
    const cell = make(index === 0 ? "th" : "td", { className: classOf(column) });
    if (index === 0) {
      cell.scope = "row";
    }
    if (column.makeCell !== undefined) {
      cell.append(column.makeCell(key));
    }
    return cell;
  }

  /** Puts the rows into this order; the others are moved around the one with the focus. */
  #arrange(nodes) {
    const fixed = nodes.find((node) => node.contains(document.activeElement));
    let place = this.#body.firstElementChild;
    for (const node of nodes) {
      while (node === fixed && place !== fixed) {
        const next = place.nextElementSibling;
        this.#body.append(place); // its turn comes
        place = next;
      }
      if (node === place) {
        place = place.nextElementSibling;
      } else {
        this.#body.insertBefore(node, place);
      }
    }
  }
}
