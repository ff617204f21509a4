/**
 * What happened between two documents of `/stats`: rates, and percentiles of histograms. Nothing here touches the page.
 *
 * @typedef {{bounds: number[], counts: number[], sum: number}} Histogram  `counts[i]` is of the values in
 *     (`bounds[i - 1]`, `bounds[i]`]; one count more than bounds, for what is above the last one.
 */

/** Reasons of connections that ended without the server dropping a client: the client left, or the server did. */
const LEFT = ["normal", "lost", "shutdown"];
const SAME_START_SECONDS = 1; // two documents of one process agree about its start, but for what the clock is set by

const startOf = ({ at, uptime_seconds }) => at - uptime_seconds;
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

const namesOf = ({ workers }) => (workers ?? []).map(({ worker }) => worker).join();

/** Whether `after` is a later document of the processes that `before` is of: counters of another began at 0. */
export function isSameProcess(before, after) {
  return (
    namesOf(after) === namesOf(before) &&
    Math.abs(startOf(after) - startOf(before)) < SAME_START_SECONDS &&
    after.uptime_seconds > before.uptime_seconds &&
    Object.entries(before.totals).every(([name, total]) => after.totals[name] >= total)
  );
}

/** The histogram of what was seen between two histograms; null if they do not belong together. */
export function between(before, after) {
  if (before === undefined || after === undefined || before.counts.length !== after.counts.length) {
    return null;
  }
  const counts = after.counts.map((count, index) => count - before.counts[index]);
  return counts.every((count) => count >= 0) ? { bounds: after.bounds, counts, sum: after.sum - before.sum } : null;
}

/**
 * The value under which the given share of what was seen lies, spread evenly over its bucket. Null if nothing was seen;
 * Infinity if it is above the last bound.
 *
 * @param {?Histogram} histogram
 * @param {number} share  0.99 for the 99th percentile.
 */
export function quantile(histogram, share) {
  const total = histogram === null ? 0 : sum(histogram.counts);
  if (total === 0) {
    return null;
  }
  const rank = Math.min(Math.max(share * total, 1), total);
  let below = 0;
  const index = histogram.counts.findIndex((count) => {
    below += count;
    return below >= rank;
  });
  const { bounds, counts } = histogram;
  if (index >= bounds.length) {
    return Infinity;
  }
  const from = index === 0 ? Math.min(0, bounds[0]) : bounds[index - 1];
  return bounds[index] - ((below - rank) / counts[index]) * (bounds[index] - from);
}

/** {name: increase per second} of what has increased; who merely leaves is left out. */
function ratesOf(before, after, seconds) {
  const rates = Object.entries(after).map(([name, total]) => [name, (total - (before[name] ?? 0)) / seconds]);
  return Object.fromEntries(rates.filter(([name, rate]) => rate > 0 && !LEFT.includes(name.replace(/^closed_/, ""))));
}

/**
 * What happened between two documents; null if they are not of one process, or in the wrong order.
 *
 * @returns {?{seconds: number, publications: number, deliveries: number, bytes: number, drops: number,
 *     missedBy: Object<string, number>, ready: ?Histogram, catchingUp: ?Histogram, lag: ?Histogram, cpu: number}}
 *     Rates are per second: `drops` of clients that the server dropped, `missedBy` of publications, by cause.
 */
export function change(before, after) {
  if (before === null || !isSameProcess(before, after)) {
    return null;
  }
  const seconds = after.uptime_seconds - before.uptime_seconds;
  const rate = (name) => (after.totals[name] - before.totals[name]) / seconds;
  return {
    seconds,
    publications: rate("publications"),
    deliveries: rate("deliveries"),
    bytes: rate("delivered_bytes"),
    drops: sum(Object.values(ratesOf(before.closed, after.closed, seconds))),
    missedBy: ratesOf(before.dropped, after.dropped, seconds),
    ready: between(before.histograms.ready_age_seconds, after.histograms.ready_age_seconds),
    catchingUp: between(before.histograms.catching_up_age_seconds, after.histograms.catching_up_age_seconds),
    lag: between(before.histograms.lag_messages, after.histograms.lag_messages),
    cpu: Math.max(0, after.now.cpu_seconds - before.now.cpu_seconds) / seconds,
  };
}

/** What happened up to a point of `/stats/past`, as `change` has it. Of the CPU it says nothing. */
export function changeOf(point, bounds) {
  const { seconds } = point;
  const rate = (total) => total / seconds;
  const histogram = (name) => {
    const counts = new Array(bounds[name].length + 1).fill(0);
    (point.histograms[name] ?? []).forEach(([index, seen]) => (counts[index] = seen));
    return { bounds: bounds[name], counts };
  };
  return {
    seconds,
    publications: rate(point.publications),
    deliveries: rate(point.deliveries),
    bytes: rate(point.delivered_bytes),
    drops: sum(Object.values(ratesOf({}, point.closed, seconds))),
    missedBy: ratesOf({}, point.dropped, seconds),
    ready: histogram("ready_age_seconds"),
    catchingUp: histogram("catching_up_age_seconds"),
    lag: histogram("lag_messages"),
    cpu: null,
  };
}
