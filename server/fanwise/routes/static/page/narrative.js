/** What a document of the demo shows, in plain sentences. Nothing here touches the page. */

import { count, duration, plural, text } from "./format.js";

const LEAST_PATIENCE_SECONDS = 1; // and three messages: nobody is late who waits for less
const STEPS = { connecting: 0, calm: 0, stopped: 1, dropped: 2, returning: 2, back: 3, over: 4 };

export const IDLE = "Press Start: both sides deliver alike for 3 seconds. Then one client on each side stops reading.";

/** How long a client may be silent and still be served. */
export const patience = ({ rate: perSecond }) => Math.max(LEAST_PATIENCE_SECONDS, 3 / perSecond);

/** The step of the story: 0 to 3, and 4 when all are done. */
export const step = ({ phase }) => STEPS[phase] ?? 0;

const isServed = ({ connected, silent_seconds }, limit) => connected && silent_seconds < limit;

/** Whether nobody on a side who reads receives anything any more. */
export const isFrozen = (document, side) =>
  side.healthy.clients > 0 &&
  document.seconds > LEAST_PATIENCE_SECONDS &&
  !side.clients.some((client) => isServed(client, patience(document)));

/** What a cell shows: "served", "silent" or "away". */
export function look(client, document) {
  if (!client.connected) {
    return "away";
  }
  return isServed(client, patience(document)) ? "served" : "silent";
}

/** What the cell of the client that stops shows: "served", "stopped", "dropped", "back" or "away". */
export function lookOfStopping({ stopped_seconds, returned, reason, connected }) {
  if (stopped_seconds === null) {
    return connected ? "served" : "away";
  }
  if (returned) {
    return connected ? "back" : "away";
  }
  return reason !== null || !connected ? "dropped" : "stopped";
}

/** Beside the big number: how long there has been silence, or how many are served. */
export function note(document, side) {
  if (isFrozen(document, side)) {
    return `for ${text(duration(side.healthy.silent_seconds))}`;
  }
  const number = side.clients.filter((client) => isServed(client, patience(document))).length;
  return `${number} of ${side.clients.length} served`;
}

/** What the client that stops does. */
export function ofStopping({ phase }, side, mode) {
  const { stopped_seconds, returned, reason, retained, lost, code } = side.stopping;
  if (stopped_seconds === null) {
    return "The marked client reads like all others.";
  }
  if (returned && phase === "returning") {
    return `The marked client is coming back: ${plural(retained, "retained message")} so far.`;
  }
  if (returned) {
    const end = lost > 0 ? `${plural(lost, "message")} no longer retained.` : "nothing lost.";
    return `The marked client is back: ${plural(retained, "retained message")} received, ${end}`;
  }
  if (lookOfStopping(side.stopping) === "dropped") {
    return `The marked client was dropped (${reason ?? code}). It may come back.`;
  }
  const since = text(duration(stopped_seconds));
  const waiting = mode === "tutorial" && side.waiting > 0 ? ` ${plural(side.waiting, "message")} wait for it.` : "";
  return `The marked client has not read for ${since}.${waiting}`;
}

/** A side in words, for who does not see the cells. */
export function words(document, side) {
  const number = count(side.healthy.received_per_second)[0];
  return `${plural(side.clients.length + 1, "client")}; ${number}/s received, ${note(document, side)}.`;
}

function ending({ sides: { tutorial, fanwise }, ...document }) {
  const isHeld = isFrozen(document, tutorial);
  const held = isHeld
    ? `One client did not read: the loop kept ${count(tutorial.clients.length)[0]} others waiting for ` +
      `${text(duration(tutorial.healthy.silent_seconds))}.`
    : "The loop was not held up: the kernels still took what one client did not read. Try larger messages.";
  if (fanwise.stopping.reason === null && !fanwise.stopping.returned) {
    return `${held} Fanwise has not dropped that client yet: the settings forgive a longer pause.`;
  }
  if (!fanwise.stopping.returned) {
    return `${held} Fanwise dropped that client, which did not get back in.`;
  }
  return `${held} Fanwise kept nobody waiting${fanwise.stopping.lost > 0 ? "." : ", and lost nothing."}`;
}

function running(document) {
  const { phase, sides } = document;
  const { reason, retained, lost } = sides.fanwise.stopping;
  const loop = isFrozen(document, sides.tutorial) ? "The loop still waits." : "";
  if (phase === "connecting") {
    return "The clients connect.";
  }
  if (phase === "calm") {
    return "All clients read. Both sides deliver the same messages.";
  }
  if (phase === "stopped") {
    return loop === ""
      ? "One client on each side has stopped reading."
      : "Left, all wait for the one client that does not read. Right, nobody notices.";
  }
  if (phase === "dropped" || phase === "returning") {
    return `Fanwise has dropped the client that does not read (${reason ?? "lost"}). ${loop}`;
  }
  const missed = lost > 0 ? `${count(retained)[0]} of ${plural(retained + lost, "message")}` : plural(retained, "retained message");
  return `The client is back, and has got ${missed} that it had missed. ${loop}`;
}

/** @returns {{tone: "idle"|"good"|"warn", text: string, kind: string}} `kind`: another one is worth an announcement. */
export function story(document) {
  if (document === null) {
    return { tone: "idle", text: IDLE, kind: "idle" };
  }
  const { phase, sides } = document;
  if (phase === "over") {
    return { tone: "good", text: ending(document), kind: "over" };
  }
  if (!document.running) {
    return { tone: "idle", text: "The story was stopped before its end.", kind: "stopped" };
  }
  const tone = { stopped: "warn", dropped: "warn", returning: "warn", back: "good" }[phase] ?? "idle";
  return { tone, text: running(document).trim(), kind: `${step(document)} ${isFrozen(document, sides.tutorial)}` };
}
