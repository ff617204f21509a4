/** What is above the charts: how much time they show, and whether they go on. */

import { problemOf } from "./access.js";
import { byId, write } from "./dom.js";
import { plural, timeOfDay } from "./format.js";

const RANGES = ["minutes", "hour"];

export class Controls {
  #access;
  #charts;
  #hour;
  #range = RANGES[0];
  #pausedAt = null;
  #said = ""; // of the hour
  #asked = 0;

  /** `hour` takes what the server has of the last hour. */
  constructor(access, charts, hour) {
    this.#access = access;
    this.#charts = charts;
    this.#hour = hour;
    RANGES.forEach((name) => byId(`range-${name}`).addEventListener("click", () => this.#choose(name)));
    byId("charts-pause").addEventListener("click", () => this.#pause());
    byId("charts-at").addEventListener("input", () => this.#read());
    document.querySelector(".charts").addEventListener("pointerenter", () => this.#letGo());
  }

  /** A server was reached, again perhaps: it may know what the page has missed. */
  connected() {
    if (this.#range === "hour") {
      this.#ask();
    }
  }

  #choose(name) {
    this.#range = name;
    RANGES.forEach((one) => byId(`range-${one}`).setAttribute("aria-pressed", String(one === name)));
    this.#charts.range(name);
    this.#said = "";
    this.#tell();
    if (name === "hour") {
      this.#ask();
    }
  }

  /** The crosshair by keyboard and by touch; at its end the newest values are read. */
  #read() {
    const slider = byId("charts-at");
    const share = slider.valueAsNumber / Number(slider.max);
    const at = this.#charts.point(share === 1 ? null : share);
    slider.setAttribute("aria-valuetext", at === null ? "now" : timeOfDay(at));
  }

  /** The pointer has the crosshair now. */
  #letGo() {
    const slider = byId("charts-at");
    slider.value = slider.max;
    slider.setAttribute("aria-valuetext", "now");
  }

  #pause() {
    this.#pausedAt = this.#pausedAt === null ? this.#charts.at : null;
    this.#charts.hold(this.#pausedAt);
    const button = byId("charts-pause");
    write(button, this.#pausedAt === null ? "Pause" : "Go on");
    this.#tell();
  }

  /** Only the latest answer counts. */
  async #ask() {
    this.#asked += 1;
    const number = this.#asked;
    const said = await this.#fill();
    if (number === this.#asked && this.#range === "hour") {
      this.#said = said;
      this.#charts.filled();
      this.#tell();
    }
  }

  /** Returns what is to be said of the answer. */
  async #fill() {
    try {
      const response = await this.#access.fetch("stats/past?scope=all");
      if (!response.ok) {
        return `The server does not tell its last hour: ${await problemOf(response)}.`;
      }
      const past = await response.json();
      this.#hour.fill(past);
      return this.#hour.last === null ? "There is a point each 12 seconds: the first one is to come." : ofWorkers(past);
    } catch {
      return "The server's last hour could not be read.";
    }
  }

  #tell() {
    const paused = this.#pausedAt === null ? "" : `Paused at ${timeOfDay(this.#pausedAt)}: what comes is kept.`;
    write(byId("charts-state"), [paused, this.#said].filter((one) => one !== "").join(" "));
  }
}

/** Sums are of the workers that are there: others took their past with them. */
function ofWorkers({ workers, silent, points }) {
  if (workers === undefined) {
    return "";
  }
  const here = workers.length - silent.length;
  const missing = silent.length > 0 ? `, without ${silent.join(", ")}` : "";
  const complete = points.find((point) => point.workers === here);
  const fewer = complete === undefined || complete === points[0] ? "" : ` Before ${timeOfDay(complete.at)} there were fewer of them.`;
  return `The hour of the ${plural(here, "worker that runs", "workers that run")} now${missing}.${fewer}`;
}
