/** The last five minutes, a point for each document of the stream: bounded, whatever comes. */

import { change, quantile } from "./numbers.js";

export const SECONDS = 300;
const MOST_POINTS = 300;

export class Past {
  /** [{at, clients, change, p50, p99, late}], the newest last; `change` is null where there is nothing to compare with. */
  points = [];
  /** The newest document, or null. */
  newest = null;

  add(document) {
    if (this.newest !== null && document.at <= this.newest.at) {
      this.points = []; // the clock was set back, and charts go one way
    }
    const since = change(this.newest, document);
    this.points.push({
      at: document.at,
      clients: document.now.clients,
      change: since,
      p50: since && quantile(since.ready, 0.5),
      p99: since && quantile(since.ready, 0.99),
      late: since && quantile(since.catchingUp, 0.99),
    });
    this.points.splice(0, this.points.length - MOST_POINTS);
    this.newest = document;
  }

  get last() {
    return this.points.at(-1) ?? null;
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
}
