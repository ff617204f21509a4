/** What a demo document shows, in one plain sentence. Nothing here touches the page. */

import { duration, plural, text } from "./format.js";

const STOPPED_SECONDS = 1;
const LEAST_PATIENCE_SECONDS = 1; // and three messages: nobody is late who waits for less

/** How long a client may be silent and still be served. */
export const patience = ({ rate }) => Math.max(LEAST_PATIENCE_SECONDS, 3 / rate);

const ofKind = (document, kind) => document.clients.filter((client) => client.kind === kind);

/** How many of the healthy clients are connected and get what is published; the others count as not served. */
export function served(document) {
  const limit = patience(document);
  const isServed = ({ connected, silent_seconds }) => connected && silent_seconds < limit;
  return ofKind(document, "healthy").filter(isServed).length;
}

/** A client that was in, and is out; and one that has not been let in, or whose turn has not come. */
export const isDropped = ({ connected, code }) => !connected && code !== null;
export const isComing = ({ connected, code }) => !connected && code === null;

/** Whether nobody who reads receives anything any more. */
export const isStopped = (document) =>
  document.running && document.healthy.clients > 0 && document.seconds > STOPPED_SECONDS && served(document) === 0;

function stoppedSentence({ healthy, publishing_seconds, mode }) {
  const since = text(duration(Math.max(healthy.silent_seconds, publishing_seconds)));
  const why =
    mode === "tutorial" && publishing_seconds > STOPPED_SECONDS / 2
      ? ": the publisher waits for one client that does not read"
      : "";
  return `Nobody has received anything for ${since}${why}.`;
}

/** "2 slow clients were dropped": `words` are for one, and for more. */
function missing(document, kind, isMissing, words) {
  const number = ofKind(document, kind).filter(isMissing).length;
  return number === 0 ? [] : [`${plural(number, `${kind} client`)} ${words[number === 1 ? 0 : 1]}`];
}

function others(document) {
  const told = ["stalled", "slow", "healthy"].flatMap((kind) => [
    ...missing(document, kind, isDropped, ["was dropped", "were dropped"]),
    ...missing(document, kind, isComing, ["is not connected yet", "are not connected yet"]),
  ]);
  if (told.length > 0) {
    return `; ${told.join(", ")}`;
  }
  const numbers = ["slow", "stalled"].map((kind) => [ofKind(document, kind).length, kind]);
  const who = numbers.filter(([number]) => number > 0).map((words) => words.join(" ")).join(" and ");
  if (document.mode === "tutorial") {
    return who === ""
      ? "; everybody reads, and then the loop works"
      : `; the kernel still takes what ${who} did not read, and when it is full the loop waits`;
  }
  if (document.drops > 0) {
    return `; ${plural(document.drops, "time")} one that could not keep up was dropped`;
  }
  return who === "" ? "" : `; ${who} delay nobody but themselves`;
}

/** @returns {{tone: "idle"|"good"|"warn"|"bad", text: string}} */
export function story(document) {
  if (document === null || !document.running) {
    return { tone: "idle", text: "The demo is not running." };
  }
  if (isStopped(document)) {
    return { tone: "bad", text: stoppedSentence(document) };
  }
  const clients = ofKind(document, "healthy").length;
  if (clients === 0) {
    return { tone: "idle", text: "There is no healthy client to look at." };
  }
  if (document.clients.every(isComing)) {
    return { tone: "idle", text: "Nobody is connected yet." };
  }
  const number = served(document);
  const { p99_seconds } = document.healthy;
  const latency = p99_seconds === null ? "" : `, p99 ${text(duration(p99_seconds))}`;
  const words = `${number} of ${plural(clients, "healthy client")} ${number === 1 ? "is" : "are"} served${latency}`;
  return { tone: number === clients ? "good" : "warn", text: `${words}${others(document)}.` };
}
