/** Numbers as people read them. A figure is [value, unit]; `text` puts the two together. */

const DASH = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const round = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const hourAndMinute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

/** Two or three digits that count, and as many whether or not they are 0: figures in a column stay where they are. */
function short(value) {
  const size = Math.abs(value);
  return size >= 99.95 || size === 0 ? whole.format(value) : value.toPrecision(size >= 9.95 ? 3 : 2);
}

const isNumber = (value) => typeof value === "number" && !Number.isNaN(value);

/** [value, unit] in the largest unit that leaves at least 1. */
function scaled(value, units) {
  if (!isNumber(value)) {
    return [DASH, ""];
  }
  const [factor, unit] = units.find(([least]) => Math.abs(value) >= least * 0.9995) ?? units.at(-1);
  return [short(value / factor), unit];
}

const COUNTS = [[1e9, "G"], [1e6, "M"], [1, ""]];
const BYTES = [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]];
const SECONDS = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]];

/** Of things: whole up to a million. */
export function count(value) {
  return isNumber(value) && Math.abs(value) < 1e6 ? [whole.format(value), ""] : scaled(value, COUNTS);
}

/** Of things per second. */
export function rate(value) {
  const [number, unit] = scaled(value, COUNTS);
  return [number, number === DASH ? "" : `${unit}/s`];
}

/** Of data: there are no parts of a byte. */
export function bytes(value) {
  return isNumber(value) && value < 1000 ? [whole.format(value), "B"] : scaled(value, BYTES);
}

/** How long: "340 µs", "12 ms", "3.4 s", "2 min 5 s", "3 h 12 min". */
export function duration(value) {
  if (!isNumber(value) || value < 120) {
    return value === 0 ? ["0", "s"] : scaled(value, SECONDS);
  }
  if (value === Infinity) {
    return ["∞", ""];
  }
  const minutes = Math.floor(value / 60);
  if (minutes < 120) {
    return [`${minutes} min`, `${Math.floor(value % 60)} s`];
  }
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? [`${hours} h`, `${minutes % 60} min`] : [`${Math.floor(hours / 24)} d`, `${hours % 24} h`];
}

/** A duration out of a histogram: "> 60 s" when it is above its last bound. */
export function measured(value, bounds) {
  const [number, unit] = duration(value === Infinity ? bounds.at(-1) : value);
  return [value === Infinity ? `> ${number}` : number, unit];
}

export const text = ([value, unit]) => `${value} ${unit}`.trimEnd();

/** For an axis, whose values are round. */
export const roundDuration = (value) => text(duration(value)).replace(/\.0+(?= )/, "");
export const roundCount = (value) => (value < 1e6 ? round.format(value) : text(count(value)).replace(".0 ", " "));
export const roundBytes = (value) => text(bytes(value)).replace(/\.0+(?= )/, "");

/** How long something has been there: whole seconds. */
export const age = (value) => (value < 120 ? `${Math.floor(value)} s` : text(duration(value)));

/** "14:03:09", of seconds since 1970, where the reader is. */
export const timeOfDay = (at) => (isNumber(at) ? clock.format(new Date(at * 1000)) : DASH);
export const timeOfDayShort = (at) => hourAndMinute.format(new Date(at * 1000));

/** "1 client", "2 clients". */
export function plural(number, one, many = `${one}s`) {
  return `${whole.format(number)} ${number === 1 ? one : many}`;
}

/** "closed: no pong", of "closed_no_pong"; the names are the server's. */
export function cause(name) {
  const [kind, ...rest] = String(name).split("_");
  return rest.length === 0 ? kind : `${kind}: ${rest.join(" ")}`;
}
