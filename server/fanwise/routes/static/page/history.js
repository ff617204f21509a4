/**
 * What the charts show: the last five minutes, a point for each document of the stream, and the last hour, a point for
 * each twelve seconds. Both are bounded, whatever comes.
 */

import { change, changeOf, quantile } from "./numbers.js";

const MOST_POINTS = 300;
const SLOT_SECONDS = 12; // of the hour's points, which the server takes at the same times

/**
 * A point: {at, clients, change, p50, p99, late, loop, rss, retained}. `change` is null where there is nothing to
 * compare with.
 */
function pointOf(about, since) {
  return {
    ...about,
    change: since,
    p50: since && quantile(since.ready, 0.5),
    p99: since && quantile(since.ready, 0.99),
    late: since && quantile(since.catchingUp, 0.99),
  };
}

/** How things stand in a document. */
function standing({ at, now, state }) {
  return { at, clients: now.clients, loop: state.loop_lag_seconds, rss: now.rss_bytes, retained: now.retained_bytes };
}

/** Points up to the newest, the newest last. */
export class Points {
  points = [];

  /** @param {number} seconds  How much time they cover. */
  constructor(seconds) {
    this.seconds = seconds;
  }

  get last() {
    return this.points.at(-1) ?? null;
  }

  /** What there was up to a time, which stays as it is. */
  until(at) {
    const copy = new Points(this.seconds);
    copy.points = this.points.filter((point) => point.at <= at);
    return copy;
  }

  /** [[seconds since 1970], [what `valueOf` makes of each point], ...]: what uPlot draws. */
  columns(...valuesOf) {
    return [this.points.map(({ at }) => at), ...valuesOf.map((valueOf) => this.points.map(valueOf))];
  }

  /** Clients that the server dropped, over all points. */
  get drops() {
    return Math.round(this.points.reduce((total, { change: since }) => total + (since?.drops ?? 0) * (since?.seconds ?? 0), 0));
  }

  /** {cause: publications that clients were not given}, over all points, the most first. */
  missed() {
    const causes = new Map();
    for (const { change: since } of this.points) {
      for (const [cause, rate] of Object.entries(since?.missedBy ?? {})) {
        causes.set(cause, (causes.get(cause) ?? 0) + rate * since.seconds);
      }
    }
    return new Map([...causes].sort(([, one], [, other]) => other - one));
  }

  push(point) {
    if (this.last !== null && point.at <= this.last.at) {
      this.points = []; // the clock was set back, and charts go one way
    }
    this.points.push(point);
    this.points.splice(0, this.points.length - MOST_POINTS);
  }
}

/** The last five minutes. */
export class Past extends Points {
  /** The newest document, or null. */
  newest = null;

  constructor() {
    super(300);
  }

  add(document) {
    this.push(pointOf(standing(document), change(this.newest, document)));
    this.newest = document;
  }
}

/** The last hour. The server has it, and the page goes on with it. */
export class Hour extends Points {
  #before = null; // the document of the newest point
  #late = 0; // the largest delay since then

  constructor() {
    super(3600);
  }

  add(document) {
    const slot = ({ at }) => Math.floor(at / SLOT_SECONDS);
    const about = standing(document);
    this.#late = Math.max(this.#late, about.loop);
    if (this.#before !== null && slot(document) === slot(this.#before)) {
      return;
    }
    if (this.#before !== null) {
      this.push(pointOf({ ...about, loop: this.#late }, change(this.#before, document)));
    }
    this.#before = document;
    this.#late = 0;
  }

  /** Takes over what `/stats/past` answers, between what is older here and what is newer. */
  fill({ bounds, points }) {
    if (points.length === 0) {
      return;
    }
    const from = points[0].at - SLOT_SECONDS / 2;
    const to = points.at(-1).at + SLOT_SECONDS / 2;
    const taken = points.map((point) => {
      const { at, clients, loop_lag_seconds: loop, rss_bytes: rss, retained_bytes: retained } = point;
      return pointOf({ at, clients, loop, rss, retained }, changeOf(point, bounds));
    });
    const [older, newer] = [this.points.filter(({ at }) => at < from), this.points.filter(({ at }) => at > to)];
    this.points = [...older, ...taken, ...newer].slice(-MOST_POINTS);
  }
}
