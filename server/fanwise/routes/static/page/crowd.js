/** A cell for each simulated client, coloured by how long it has received nothing; and the same in words. */

import { byId, make, write } from "./dom.js";
import { onNextFrame } from "./frames.js";
import { isComing, isDropped, patience } from "./narrative.js";
import { colour, onTheme } from "./theme.js";
import { duration, plural, text } from "./format.js";

const KINDS = ["healthy", "slow", "stalled"];
const CELL_PX = 14;
const STEP_PX = 18;
const STROKES = {
  gone: [[3, 3, 11, 11], [3, 11, 11, 3]],
  hatched: [[1, 7, 7, 1], [1, 13, 13, 1], [7, 13, 13, 7]],
  empty: [],
};
const LABEL_PX = 64;
const ROW_GAP_PX = 8;

/** A client's look: `tone` is a colour's name. */
function look(client, limit) {
  if (!client.connected) {
    return { shape: isDropped(client) ? "gone" : "empty", tone: "soft" };
  }
  const { kind, silent_seconds } = client;
  if (kind === "stalled") {
    return { shape: "hatched", tone: "soft" };
  }
  const isLate = silent_seconds >= limit * (kind === "slow" ? 3 : 1);
  return { shape: "full", tone: isLate ? "bad" : kind === "slow" ? "amber" : "good" };
}

function words(kind, clients, limit) {
  if (clients.length === 0) {
    return `no ${kind} client`;
  }
  const gone = clients.filter(isDropped);
  const coming = clients.filter(isComing).length;
  const silent = Math.max(...clients.map(({ silent_seconds }) => silent_seconds));
  const codes = [...new Set(gone.map(({ code }) => code))];
  const parts = [`${plural(clients.length, `${kind} client`)}`];
  if (gone.length > 0) {
    parts.push(`${gone.length} dropped (code ${codes.join(", ")})`);
  }
  if (coming > 0) {
    parts.push(`${coming} not connected yet`);
  }
  if (silent >= limit) {
    parts.push(`the longest without a message: ${text(duration(silent))}`);
  }
  const missing = Math.max(...clients.map((client) => client.missing));
  parts.push(missing > 0 ? `at most ${plural(missing, "message")} behind` : "nothing missing");
  return parts.join(", ");
}

export class Crowd {
  #canvas = byId("crowd");
  #list = byId("crowd-words");
  #document = null;

  constructor() {
    this.#list.replaceChildren(...KINDS.map(() => make("li")));
    new ResizeObserver(() => this.#redraw()).observe(this.#canvas.parentElement);
    onTheme(() => this.#redraw());
  }

  show(document) {
    this.#document = document;
    const limit = patience(document);
    KINDS.forEach((kind, index) => {
      const clients = document.clients.filter((client) => client.kind === kind);
      write(this.#list.children[index], words(kind, clients, limit));
    });
    this.#redraw();
  }

  #redraw() {
    onNextFrame(() => this.#draw());
  }

  #draw() {
    const width = this.#canvas.parentElement.clientWidth;
    if (this.#document === null || width === 0) {
      return;
    }
    const perRow = Math.max(1, Math.floor((width - LABEL_PX) / STEP_PX));
    const groups = KINDS.map((kind) => this.#document.clients.filter((client) => client.kind === kind));
    const rows = groups.map((clients) => Math.ceil(clients.length / perRow));
    const height = rows.reduce((total, number) => total + (number === 0 ? 0 : number * STEP_PX + ROW_GAP_PX), 0);
    const ctx = this.#prepare(width, Math.max(height, STEP_PX));
    let top = 0;
    groups.forEach((clients, index) => {
      if (clients.length > 0) {
        this.#drawGroup(ctx, KINDS[index], clients, { top, perRow });
        top += rows[index] * STEP_PX + ROW_GAP_PX;
      }
    });
  }

  #prepare(width, height) {
    const canvas = this.#canvas;
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round(height * devicePixelRatio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const ctx = canvas.getContext("2d");
    ctx.scale(devicePixelRatio, devicePixelRatio);
    return ctx;
  }

  #drawGroup(ctx, kind, clients, { top, perRow }) {
    const limit = patience(this.#document);
    ctx.fillStyle = colour("soft");
    ctx.font = "12px system-ui, sans-serif";
    ctx.textBaseline = "middle";
    ctx.fillText(kind, 0, top + CELL_PX / 2);
    clients.forEach((client, index) => {
      const left = LABEL_PX + (index % perRow) * STEP_PX;
      this.#drawCell(ctx, left, top + Math.floor(index / perRow) * STEP_PX, look(client, limit));
    });
  }

  #drawCell(ctx, left, top, { shape, tone }) {
    ctx.fillStyle = ctx.strokeStyle = colour(tone);
    ctx.lineWidth = 1.5;
    if (shape === "full") {
      ctx.fillRect(left, top, CELL_PX, CELL_PX);
      return;
    }
    ctx.strokeRect(left + 0.75, top + 0.75, CELL_PX - 1.5, CELL_PX - 1.5);
    ctx.beginPath();
    for (const [fromX, fromY, toX, toY] of STROKES[shape]) {
      ctx.moveTo(left + fromX, top + fromY);
      ctx.lineTo(left + toX, top + toY);
    }
    ctx.stroke();
  }
}
