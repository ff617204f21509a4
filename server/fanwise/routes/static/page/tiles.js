/** The figures at the top: nine, and one more where there is an engine. */

import { byId, mark, write } from "./dom.js";
import { age, bytes, count, duration, measured, plural, rate, text } from "./format.js";

const NOTHING = "–";

function tile(name, [value, unit], note, isBad = false) {
  const node = byId(`tile-${name}`);
  write(node.querySelector(".value"), value);
  write(node.querySelector(".unit"), unit);
  write(node.querySelector(".note"), note);
  mark(node, "bad", isBad);
}

const ofChange = (point, valueOf) => (point.change === null ? null : valueOf(point.change));

/** Clients first: how many messages they missed comes second. */
function showDrops(past) {
  const missed = Math.round([...past.missed().values()].reduce((total, one) => total + one, 0));
  const isNow = ofChange(past.last, ({ drops, missedBy }) => drops > 0 || Object.keys(missedBy).length > 0);
  const note = missed === 0 ? "no message missed" : `${text(count(missed))} ${missed === 1 ? "message" : "messages"} missed`;
  tile("drops", [count(past.drops)[0], "in 5 min"], note, isNow === true);
}

/** Clients that read: those that catch up get old messages, and have a line of their own. */
function showLatency({ newest, last }) {
  const { bounds } = newest.histograms.ready_age_seconds;
  const p50 = last.p50 === null ? "nothing delivered" : `p50 ${text(measured(last.p50, bounds))}`;
  tile("p99", measured(last.p99, bounds), last.late === null ? p50 : `catching up ${text(measured(last.late, bounds))}`);
}

/** Shows the newest point of `past`. */
export function showTiles(past) {
  const { newest, last } = past;
  const { now, totals, state } = newest;
  const cpu = ofChange(last, (change) => change.cpu);
  tile("clients", count(now.clients), `${count(now.behind)[0]} behind`);
  const inAll = `${text(count(totals.publications))} in all`;
  tile("publications", rate(ofChange(last, (change) => change.publications)), inAll);
  tile("deliveries", rate(ofChange(last, (change) => change.deliveries)), bytesNote(last));
  showDrops(past);
  showLatency(past);
  tile("lag", duration(state.loop_lag_seconds), "worst of 5 s", !state.ready);
  tile("memory", bytes(now.rss_bytes), cpu === null ? NOTHING : `CPU ${Math.round(cpu * 100)} %`);
  tile("retained", bytes(now.retained_bytes), plural(now.channels, "channel"));
  showEngine(newest.backplane ?? null);
}

/** Shows whether the engine behind several servers is there, and why not. */
function showEngine(engine) {
  mark(document.body, "has-engine", engine !== null);
  if (engine === null) {
    return;
  }
  const { up, behind, silent_seconds: silent } = engine;
  const awayFor = silent === null ? "not reached yet" : `for ${age(silent)}`;
  tile("engine", [up ? "up" : "away", ""], up ? `${text(count(behind))} behind` : awayFor, !up);
  byId("tile-engine").title = up ? engine.engine : engine.why;
}

/** Shows the pause that the least forgiving channel forgives, and the setting that decides. */
export function showForgiven(forgiven) {
  const found = forgiven ?? null;
  tile("forgiven", found === null ? [NOTHING, ""] : duration(found.seconds), found === null ? "no traffic" : `by ${found.bound}`);
  byId("tile-forgiven").title = found === null ? "" : `by ${found.bound}, on the channel ${found.channel}`;
}

function bytesNote(last) {
  const rateOfBytes = ofChange(last, (change) => change.bytes);
  return rateOfBytes === null ? NOTHING : `${text(bytes(rateOfBytes))}/s`;
}
