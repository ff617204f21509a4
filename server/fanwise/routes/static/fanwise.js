/**
 * Fanwise in the browser: channels over one WebSocket, or over Server-Sent Events where WebSockets do not get through.
 * An ES module of one file; no dependency, no build step.
 *
 *     import { FanwiseClient } from "/static/fanwise.js";
 *
 *     const client = new FanwiseClient("/ws", { onGap: (gap) => reload(gap.channel) });
 *     await client.subscribe("news", { onMessage: ({ data }) => show(data) });
 *     await client.publish("news", { title: "Hello" });
 *
 * A connection that is lost comes back by itself and resumes where it was: each offset of a channel's log is delivered
 * at most once and in order, and whatever does not come is told as a gap. Payloads are data: nothing here touches the
 * document.
 *
 * Parts, from the bottom: errors, encodings, Retry (when to try again), Tokens (who the user is), Subscription (what of
 * a channel came and what did not), SocketLink and EventLink (the two transports), FanwiseClient. `fanwise.d.ts` has the
 * types, made from these comments.
 */

/**
 * @typedef {{epoch: string, offset: number}} Position  A place in a channel's log; the epoch says which log.
 *
 * @typedef {object} Message
 * @property {string} channel
 * @property {string} epoch
 * @property {number} offset
 * @property {*} data  What JSON makes of it, or a Uint8Array if the publication is binary.
 * @property {string} [key]  What the publication is the newest state of.
 * @property {Object<string, string>} [tags]  What filters look at.
 *
 * @typedef {object} Gap  `from` to `to` (inclusive) of the log `epoch` will not come.
 * @property {string} channel
 * @property {string} epoch
 * @property {number} from
 * @property {number} to  `from - 1` if nothing of this log is missing, as after a change of the epoch.
 * @property {"history"|"epoch"|"slow"|"backplane"|"unknown"} reason  The log did not reach back so far; the log of
 *     our position is gone, and with it whatever came after that position; this client was too slow; the engine behind
 *     several servers has them no more; a hole that nobody told.
 *
 * @typedef {object} Member  A user on a channel, once however many connections the user has.
 * @property {string} id
 * @property {*} [info]  What others may know of the user.
 *
 * @typedef {object} Presence  The users on a channel at one time.
 * @property {string} channel
 * @property {number} clients  How many connections are on the channel.
 * @property {number} users  How many users they belong to.
 * @property {Member[]} members
 * @property {boolean} truncated  Whether `members` leaves users out.
 *
 * @typedef {object} PresenceChange  A user came (or has another info), or left with the last connection. "gap": users
 *     came and left without being told one by one, as while the connection was lost: ask again if you list them.
 * @property {"join"|"leave"|"gap"} type
 * @property {string} channel
 * @property {string} [id]  Of the user; undefined for a gap.
 * @property {*} [info]  Of the user that joins.
 * @property {number} [users]  How many users there are, where a gap says so.
 *
 * @typedef {string|(() => string|Promise<string>)} Token  A token, or the function that fetches one. It is called before
 *     the first connection, and again before the token's time ends. If it throws, the client tries again later; if it
 *     throws a FanwiseError, the client is closed.
 *
 * @typedef {"connecting"|"open"|"waiting"|"closed"} State  "waiting" to connect again; "closed" is for good.
 *
 * @typedef {object} StateDetail
 * @property {"websocket"|"sse"} transport
 * @property {number} [code]  Why it was lost or closed: a close code of RFC 6455 section 7.4, or of the server.
 * @property {string} [reason]
 * @property {number} [retryMs]  When "waiting": until the next attempt.
 */

const SUBPROTOCOL = "fanwise.v1";
const FALLBACK_AFTER = 3; // attempts on one transport before the other is tried, if neither has ever been welcomed
const MAX_HINT_MS = 300_000; // a server that asks us to stay away for longer is mistaken
const MAX_TIMER_MS = 2 ** 31 - 1; // a timer for longer than that fires at once
const LOST = 1006;
const EXPIRED = 4013; // the token's time was over
const NO_TOKEN = 4501; // what we say when the function that fetches tokens wants no other attempt
// A token is replaced when 70 to 85 % of its time are over: pages that came together ask at different times.
const RENEW_SHARE = 0.7;
const RENEW_SPREAD = 0.15;
const NEW_TOKEN_MS = 5000; // a handshake that fails so soon does not ask for another token
const MIN_RENEW_MS = 1000; // however short the server says that tokens last
const TOKEN_REFUSALS = new Set(["unauthorised", "forbidden", "tokens_too_fast"]);
// Two servers behind one address that do not know of each other: who comes from one to the other and back finds the log
// that it knows. More than a handful of logs of one channel live nowhere at once.
const KNOWN_EPOCHS = 8;
// Offsets of one's own that are remembered until what is before them has come.
const MOST_SKIPPED = 10_000;
const OUR_CLOSE = { code: 1000, reason: "closed" };

// ---------------------------------------------------------------------------------------------------------- errors

/** Something that was refused or that went wrong. `code` is the server's, or one of ours: see `FanwiseClient`. */
export class FanwiseError extends Error {
  /**
   * @param {string} code  For programs.
   * @param {string} message  For people.
   * @param {{channel?: string, position?: Position, cause?: *}} [detail]  What it is about; `position` is how far a
   *     subscription had come that ends with this error.
   */
  constructor(code, message, { channel, position, cause } = {}) {
    super(message, { cause });
    this.name = new.target.name;
    this.code = code;
    this.channel = channel;
    this.position = position;
  }
}

/** The connection was lost before the answer to a publish: it may or may not have been published. */
export class UnconfirmedError extends FanwiseError {
  /** @param {string} channel @param {*} [cause] */
  constructor(channel, cause) {
    super("unconfirmed", "the connection was lost before the server confirmed the publication", { channel, cause });
  }
}

const closedError = ({ code, reason }, detail) =>
  new FanwiseError("closed", `closed: ${code} ${reason}`.trimEnd(), detail);

// ------------------------------------------------------------------------------------------------------- encodings

/** JSON objects only: null for everything else. */
function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

function toBase64(bytes) {
  let binary = "";
  for (const byte of bytes) {
    binary += String.fromCharCode(byte);
  }
  return btoa(binary);
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

const dataOf = ({ data, encoding }) => (encoding === "base64" ? fromBase64(data) : data);
const utf8 = (text) => new TextEncoder().encode(text);
const toBase64Url = (text) => toBase64(utf8(text)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const isOffset = (value) => Number.isSafeInteger(value) && value >= 0;

/** The bytes of a binary payload, as a copy that the caller cannot change any more; null for everything else. */
function binaryOf(data) {
  if (data instanceof ArrayBuffer) {
    return new Uint8Array(data.slice(0));
  }
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice() : null;
}

/** RFC 6455 section 7.4.1 (it is over, or a rule was broken) and 4500-4999 mean: do not come back. */
const FINAL_CODES = new Set([1000, 1002, 1003, 1007, 1008, 1009, 1010]);
const mayReconnect = (code) => !FINAL_CODES.has(code) && !(code >= 4500 && code <= 4999);

/** What the server says of names, so that a URL never has to carry another. */
function assertChannel(channel) {
  if (typeof channel !== "string" || !/^[A-Za-z0-9._:/-]{1,255}$/.test(channel)) {
    const given = String(JSON.stringify(channel)).slice(0, 80);
    const message = `channel ${given} must be a string of 1 to 255 characters of A-Z a-z 0-9 . _ : / -`;
    throw new FanwiseError("bad_channel", message, { channel });
  }
}

function assertSince(since) {
  if (since !== undefined && (typeof since?.epoch !== "string" || !isOffset(since.offset))) {
    throw new TypeError("since must be {epoch: string, offset: integer}");
  }
}

function assertPosition(op, epoch, offset) {
  if (typeof epoch !== "string" || !isOffset(offset)) {
    throw new TypeError(`${op} without a position`);
  }
}

const presenceOf = ({ channel, clients, users, members, truncated }) => ({ channel, clients, users, members, truncated });

/** How long a server that restarts asks us to stay away, or undefined. */
function hintOf(detail) {
  const hintMs = detail?.retry_ms;
  return typeof hintMs === "number" && hintMs >= 0 ? Math.min(hintMs, MAX_HINT_MS) : undefined;
}

/** `ws:` and `wss:` URLs, also from `http:`, `https:` and relative ones. */
function socketUrl(url) {
  const absolute = new URL(url, globalThis.location?.href);
  absolute.protocol = absolute.protocol.replace(/^http/, "ws");
  absolute.hash = "";
  if (!/^wss?:$/.test(absolute.protocol)) {
    throw new TypeError(`url ${JSON.stringify(String(url))} must be ws:, wss:, http:, https: or relative`);
  }
  return absolute;
}

function assertBeginning({ since, last }) {
  assertSince(since);
  if (last !== undefined && (!isOffset(last) || since !== undefined)) {
    throw new TypeError("last must be an integer from 0 on, and stands without since");
  }
}

function assertTags(name, tags) {
  if (tags !== undefined && (typeof tags !== "object" || tags === null || Array.isArray(tags))) {
    throw new TypeError(`${name} must be an object of strings`);
  }
}

/** What a header and the offer of a subprotocol can carry. */
function assertToken(token) {
  if (typeof token !== "string" || !/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(token)) {
    throw new TypeError("the token must be a string of the characters that a JWT has, and not empty"); // and is not shown
  }
  return token;
}

/** What stands beside `/ws` on the same server: `/sse/CHANNEL`, `/publish/CHANNEL`. */
function besideUrl(url, place, channel) {
  if (channel === "." || channel === "..") {
    throw new FanwiseError("bad_channel", `a URL cannot name the channel ${JSON.stringify(channel)}`, { channel });
  }
  // URLs lose "." and ".." between slashes, and some proxies lose empty segments: there a slash is no separator.
  const fragile = channel.split("/").some((segment) => segment === "" || segment === "." || segment === "..");
  const name = encodeURIComponent(channel);
  const beside = new URL(`${place}/${fragile ? name : name.replaceAll("%2F", "/")}`, new URL(".", url));
  beside.protocol = beside.protocol.replace(/^ws/, "http");
  return beside;
}

function appendTags(url, parameter, tags) {
  for (const [name, values] of Object.entries(tags)) {
    for (const value of [values].flat()) {
      url.searchParams.append(parameter, `${name}:${value}`);
    }
  }
}

/** What an answer of the server says went wrong. */
async function errorOf(response, channel) {
  const { error } = parseObject(await response.text()) ?? {};
  return new FanwiseError(error?.code ?? "http", error?.message ?? `status ${response.status}`, { channel });
}

/** Calls what the user gave us. What that throws is reported as uncaught, and is no business of the connection's. */
function call(handler, ...args) {
  try {
    handler(...args);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** A promise with its two ends. */
function deferred() {
  const ends = {};
  ends.promise = new Promise((resolve, reject) => Object.assign(ends, { resolve, reject }));
  return ends;
}

/** The promise that `act` returns; one that rejects if it throws. Not `async`, which would hand out another promise. */
function promised(act) {
  try {
    return act();
  } catch (error) {
    return Promise.reject(error);
  }
}

/** Rejects because the user closed or unsubscribed: nobody has to listen to that. */
function abandon({ promise, reject }, error) {
  promise.catch(() => {});
  reject(error);
}

const ignore = () => {};
const within = (milliseconds, signal) => AbortSignal.any([signal, AbortSignal.timeout(milliseconds)]);

// ----------------------------------------------------------------------------------------------------------- retry

/** When to try again: at a random time under a ceiling that doubles ("full jitter"), or when the server says. */
class Retry {
  #attempt;
  #attempts;
  #options;
  #timer = null;

  constructor(attempt, options, attempts = 0) {
    this.#attempt = attempt;
    this.#options = options;
    this.#attempts = attempts;
  }

  /** Tries again later; returns in how many milliseconds. */
  later(hintMs) {
    const { backoffMs, maxBackoffMs } = this.#options;
    const waitMs = hintMs ?? Math.random() * Math.min(maxBackoffMs, MAX_TIMER_MS, backoffMs * 2 ** this.#attempts);
    this.#attempts += hintMs === undefined ? 1 : 0;
    this.#timer = setTimeout(() => this.now(), waitMs);
    return waitMs;
  }

  /** Tries now, if it was to be later. */
  now() {
    if (this.#timer !== null) {
      this.stop();
      this.#attempt();
    }
  }

  succeeded() {
    this.#attempts = 0;
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }
}

// ---------------------------------------------------------------------------------------------------------- tokens

/** The newest token. At most one fetch is under way, and the token that a connection has is replaced before it ends. */
class Tokens {
  #fetch; // null: the token stays what it is
  #token = null;
  #fetchedAt = 0;
  #renewAt = Infinity; // ms since 1970, so that it is over after a sleep of the machine
  #fetching = null;
  #waitMs;
  #renewed; // (token) => void
  #failed; // (error) => void
  #retry;
  #timer;
  #active = false; // there is a connection whose token is to be replaced

  constructor(token, { options, renewed, failed }) {
    this.#fetch = typeof token === "function" ? token : null;
    this.#token = this.#fetch === null ? assertToken(token) : null;
    this.#waitMs = options.welcomeMs;
    this.#renewed = renewed;
    this.#failed = failed;
    this.#retry = new Retry(() => this.#renew(), options);
  }

  get renewable() {
    return this.#fetch !== null;
  }

  /** The token for a new connection. Rejects with a FanwiseError of the code "token", or with the function's own. */
  async current() {
    const stale = this.#token === null || Date.now() >= this.#renewAt;
    return this.#fetch !== null && stale ? this.#fetchOnce() : this.#token;
  }

  /** A connection with the token stands, or the server has taken another: for so many seconds, or for ever. */
  accepted(seconds) {
    this.stop();
    this.#active = true;
    this.#retry.succeeded();
    if (this.#fetch !== null && Number.isFinite(seconds)) {
      const share = RENEW_SHARE + RENEW_SPREAD * Math.random();
      const waitMs = Math.min(MAX_TIMER_MS, Math.max(MIN_RENEW_MS, 1000 * seconds * share));
      this.#renewAt = Date.now() + waitMs;
      this.#timer = setTimeout(() => this.#renew(), waitMs);
    }
  }

  /** The server has not taken a new token: another one is fetched later. */
  refused(message) {
    this.#later(new FanwiseError("token", `the server did not take the new token: ${message}`));
  }

  /** The server takes the token no more. */
  discard() {
    if (this.#fetch !== null) {
      this.#token = null;
    }
  }

  /** A handshake has failed, which browsers do not explain: it may be the token, unless that is new. */
  suspect() {
    if (Date.now() - this.#fetchedAt > NEW_TOKEN_MS) {
      this.discard();
    }
  }

  /** There is no connection whose token is to be replaced. */
  stop() {
    this.#active = false;
    clearTimeout(this.#timer);
    this.#retry.stop();
  }

  async #renew() {
    const before = this.#token;
    try {
      const token = await this.#fetchOnce();
      if (token === before) {
        throw new FanwiseError("token", "no new token: the function returned the same one again");
      }
      if (this.#active) {
        this.#renewed(token);
      }
    } catch (error) {
      this.#later(error);
    }
  }

  #later(error) {
    if (this.#active) {
      clearTimeout(this.#timer);
      this.#retry.stop();
      this.#renewAt = Date.now() + this.#retry.later();
      this.#failed(error);
    }
  }

  #fetchOnce() {
    this.#fetching ??= this.#fetchNow().finally(() => {
      this.#fetching = null;
    });
    return this.#fetching;
  }

  async #fetchNow() {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`none came within ${this.#waitMs} ms`)), this.#waitMs);
    });
    try {
      const token = assertToken(await Promise.race([(async () => this.#fetch())(), late]));
      [this.#token, this.#fetchedAt, this.#renewAt] = [token, Date.now(), Infinity];
      return token;
    } catch (error) {
      const cause = error;
      throw error instanceof FanwiseError ? error : new FanwiseError("token", `no token: ${error?.message}`, { cause });
    } finally {
      clearTimeout(timer);
    }
  }
}

// ---------------------------------------------------------------------------------------------------- subscription

/**
 * One channel: what of it came and what did not, over as many connections as it takes. Whatever it tells, messages and
 * gaps together, covers each log without overlap.
 */
class Subscription {
  #epoch = null; // of what comes now; null until the server has said where this connection's stream begins
  #skipped = new Set(); // offsets of the log that comes now which do not come, and are no hole
  #turned = false; // what comes now is not what follows `position`, and that was not told yet
  #confirmed = false; // `position` is the server's word, not only the program's
  #offsets = new Map(); // {epoch: offset up to which it came}, the newest last
  #told; // {onMessage, onGap, onPresence}
  hasBegun = false;
  began = deferred(); // settles with the server's first answer

  /** @type {?Position} The last offset that was delivered or told as missing: where to resume. */
  position = null;

  constructor(channel, { since, last, filter, onMessage, onGap, onPresence }) {
    this.channel = channel;
    this.last = last;
    this.filter = filter;
    this.presence = onPresence !== undefined;
    this.#told = { onMessage, onGap, onPresence: onPresence ?? ignore };
    if (since !== undefined) {
      this.#advance(since.epoch, since.offset);
    }
  }

  /** The connection is gone: what comes next begins with a new `subscribed`. */
  interrupted() {
    this.#epoch = null;
  }

  /** Nothing is delivered any more, also not by what calls us right now. */
  end() {
    this.#told = { onMessage: ignore, onGap: ignore, onPresence: ignore };
  }

  received(frame) {
    if (frame.op === "subscribed") {
      this.#begin(frame);
    } else if (this.#epoch !== null) {
      ({ gap: () => this.#gap(frame), skipped: () => this.#skip(frame), message: () => this.#message(frame) })[frame.op]();
    }
  }

  /** Who came or left. */
  changed({ op, id, info, users }) {
    const type = op === "presence_gap" ? "gap" : op;
    const change = { type, channel: this.channel };
    Object.assign(change, id !== undefined && { id }, type === "join" && { info }, users !== undefined && { users });
    call(this.#told.onPresence, change);
  }

  /**
   * A position that we have stays: only what comes now, or a gap, moves it. Were a new epoch adopted here and the
   * connection lost before its gap, the next connection would find nothing missing.
   */
  #begin({ epoch, offset }) {
    assertPosition("subscribed", epoch, offset);
    const { position } = this;
    const mistaken = !this.#confirmed && position?.epoch === epoch && offset < position.offset;
    if (mistaken) {
      this.#offsets.set(epoch, offset); // the log never came as far as the program said
    }
    this.#epoch = epoch;
    this.#skipped.clear();
    this.#turned = position !== null && (position.epoch !== epoch || mistaken);
    this.#confirmed ||= !mistaken;
    if (position === null) {
      this.#advance(epoch, offset);
    }
    if (this.hasBegun && this.presence) {
      this.changed({ op: "presence_gap" }); // nobody told us who came and left meanwhile
    }
    this.hasBegun = true;
    this.began.resolve({ epoch, offset });
  }

  #message({ offset, data, encoding, key, tags }) {
    assertPosition("message", this.#epoch, offset);
    const message = { channel: this.channel, epoch: this.#epoch, offset, data: dataOf({ data, encoding }) };
    if (key !== undefined) {
      message.key = key;
    }
    if (tags !== undefined) {
      message.tags = tags;
    }
    if (offset > this.#have()) {
      this.#goPast();
      this.#tellHole(offset);
      this.#advance(this.#epoch, offset);
      this.#goPast();
      call(this.#told.onMessage, message);
    }
  }

  /** A publication that is our own and does not come, told perhaps before others in front of it. */
  #skip({ epoch, offset }) {
    assertPosition("skipped", epoch, offset);
    if (epoch === this.#epoch && offset > this.#have() && this.#skipped.size < MOST_SKIPPED) {
      this.#skipped.add(offset);
      this.#goPast();
    }
  }

  /** Goes past what comes next and is skipped. */
  #goPast() {
    while (!this.#turned && this.#skipped.delete(this.#have() + 1)) {
      this.#advance(this.#epoch, this.#have() + 1);
    }
  }

  #gap({ epoch, from, to, reason }) {
    assertPosition("gap", epoch, from);
    assertPosition("gap", epoch, to);
    this.#turned ||= epoch !== this.#epoch;
    this.#epoch = epoch;
    if (to <= this.#have() && !this.#turned) {
      return;
    }
    this.#turned &&= reason !== "epoch";
    this.#tellHole(from);
    const first = Math.max(from, this.#have() + 1);
    this.#tellGap(first, Math.max(to, first - 1), reason);
  }

  /** What is missing before `offset` and nobody told: a hole, or a turn to another log. */
  #tellHole(offset) {
    const first = this.#have() + 1;
    const last = this.filter === undefined ? Math.max(offset - 1, first - 1) : first - 1; // what it leaves out is no hole
    if (last >= first || this.#turned) {
      this.#tellGap(first, last, "unknown");
    }
  }

  #tellGap(from, to, reason) {
    this.#advance(this.#epoch, to);
    call(this.#told.onGap, { channel: this.channel, epoch: this.#epoch, from, to, reason });
  }

  /** Up to which offset of the log that comes now everything came. */
  #have() {
    return this.#offsets.get(this.#epoch) ?? 0;
  }

  #advance(epoch, offset) {
    this.position = { epoch, offset };
    this.#turned = false;
    this.#offsets.delete(epoch);
    this.#offsets.set(epoch, offset);
    if (this.#offsets.size > KNOWN_EPOCHS) {
      this.#offsets.delete(this.#offsets.keys().next().value);
    }
  }
}

// ------------------------------------------------------------------------------------------------------ transports
//
// A link carries the subscriptions and the publications of one client, and comes back by itself. It tells its owner:
//   state(state, detail)     it has changed
//   welcomed(welcome)        the server is there
//   received(frame)          an object of the JSON dialect
//   broken(what)             something else than that
//   interrupted(channel?)    the stream of the channel, or of all, is gone
//   unconfirmed(id?)         the publication with this id, or each one on its way, will get no answer
//   refused(channel, error)  a subscription has ended
//   troubled(error)          something failed, and is tried again
//   failed()                 an attempt has failed: true if the owner has given up this link
//   ended(detail)            the server asks us not to come back

/** Everything over one WebSocket. */
class SocketLink {
  kind = "websocket";
  #owner;
  #socket = null;
  #live = false; // since the welcome
  #closed = false; // for good
  #steady; // timer: the connection lives for long enough
  #retry;
  #deadline;
  #leaving = new Map(); // {channel: unsubscribes without an answer}

  constructor(owner, attempts) {
    this.#owner = owner;
    this.#retry = new Retry(() => this.open(), owner.options, attempts);
  }

  open() {
    const { options, tokens } = this.#owner;
    if (tokens === null) {
      this.#connect(options.apiKey === undefined ? [] : [`fanwise.key.${toBase64Url(options.apiKey)}`]);
    } else {
      this.#owner.state("connecting");
      this.#connectWithToken(tokens);
    }
  }

  async #connectWithToken(tokens) {
    let token;
    try {
      token = await tokens.current();
    } catch (error) {
      if (!this.#closed && error.code === "token") {
        this.#owner.troubled(error);
        this.#wait(LOST, error.message);
      } else if (!this.#closed) {
        this.#owner.ended({ code: NO_TOKEN, reason: error.message });
      }
      return;
    }
    if (!this.#closed) {
      this.#connect([`fanwise.token.${token}`]);
    }
  }

  #connect(credentials) {
    const { options, url } = this.#owner;
    try {
      this.#socket = new options.WebSocket(url.href, [SUBPROTOCOL, ...credentials]);
    } catch (error) {
      this.#lost(LOST, String(error));
      return;
    }
    this.#socket.onmessage = ({ data }) => this.#received(data);
    this.#socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    this.#deadline = setTimeout(() => this.#lost(LOST, "no welcome in time"), options.welcomeMs);
    this.#owner.state("connecting");
  }

  subscribe({ channel, position, last, filter, presence }) {
    if (this.#live) {
      const begin = position === null ? { last } : { since: position };
      this.#send({ op: "subscribe", channel, ...begin, filter, presence: presence || undefined });
    }
  }

  /** Asks who is on a channel; unanswered questions are asked again after each welcome. */
  ask({ id, channel }) {
    if (this.#live) {
      this.#send({ op: "presence", channel, id });
    }
  }

  authenticate(token) {
    if (this.#live) {
      this.#send({ op: "authenticate", token });
    }
  }

  unsubscribe(channel) {
    if (this.#live) {
      this.#leaving.set(channel, (this.#leaving.get(channel) ?? 0) + 1);
      this.#send({ op: "unsubscribe", channel });
    }
  }

  /** Whether it is on its way. */
  publish({ id, channel, key, tags, echo, traceparent, json, bytes }) {
    if (this.#live) {
      const rest = bytes === null ? `"data":${json}` : `"data":"${toBase64(bytes)}","encoding":"base64"`;
      const head = { op: "publish", id, channel, key, tags, echo, traceparent };
      this.#socket.send(`${JSON.stringify(head).slice(0, -1)},${rest}}`);
    }
    return this.#live;
  }

  hurry() {
    this.#retry.now();
  }

  close() {
    this.#closed = true;
    this.#retry.stop();
    this.#drop();
  }

  #send(frame) {
    this.#socket.send(JSON.stringify(frame));
  }

  #received(data) {
    const frame = typeof data === "string" ? parseObject(data) : null;
    if (frame === null) {
      this.#owner.broken(data);
    } else if (frame.op === "welcome") {
      this.#welcomed(frame);
    } else if (frame.op === "authenticated") {
      this.#owner.tokens?.accepted(frame.expires_in);
    } else if (this.#refusesToken(frame)) {
      this.#owner.tokens.refused(frame.message);
    } else if (!this.#isStale(frame)) {
      this.#owner.received(frame);
    }
  }

  #refusesToken({ op, code, id, channel }) {
    const unnamed = op === "error" && id === undefined && channel === undefined;
    return unnamed && this.#owner.tokens !== null && TOKEN_REFUSALS.has(code);
  }

  #welcomed(frame) {
    clearTimeout(this.#deadline);
    this.#live = true;
    this.#owner.tokens?.accepted(frame.expires_in);
    this.#steady = setTimeout(() => this.#retry.succeeded(), this.#owner.options.steadyMs);
    this.#owner.welcomed(frame);
    this.#owner.state("open");
  }

  /** What comes for a channel until the server has seen that we left it is not for those who came back meanwhile. */
  #isStale({ op, channel, code, id }) {
    const answers = this.#leaving.get(channel);
    if (answers === undefined || op === "published" || id !== undefined) {
      return false;
    }
    if (op === "unsubscribed" || code === "not_subscribed") {
      answers > 1 ? this.#leaving.set(channel, answers - 1) : this.#leaving.delete(channel);
    }
    return true;
  }

  #lost(code, reason) {
    const wasLive = this.#live;
    this.#drop();
    this.#owner.interrupted();
    this.#owner.unconfirmed();
    if (code === EXPIRED) {
      this.#owner.tokens?.discard();
    } else if (!wasLive) {
      this.#owner.tokens?.suspect();
    }
    if (!mayReconnect(code)) {
      this.#owner.ended({ code, reason });
    } else if (wasLive || !this.#owner.failed()) {
      this.#wait(code, reason);
    }
  }

  #wait(code, reason) {
    const retryMs = this.#retry.later(code === 1012 ? hintOf(parseObject(reason)) : undefined);
    this.#owner.state("waiting", { code, reason, retryMs });
  }

  #drop() {
    clearTimeout(this.#deadline);
    clearTimeout(this.#steady);
    this.#owner.tokens?.stop();
    this.#live = false;
    this.#leaving.clear();
    if (this.#socket !== null) {
      this.#socket.onmessage = this.#socket.onclose = null;
      this.#socket.close(1000);
      this.#socket = null;
    }
  }
}

/** What an EventSource does, for requests that bring a token: those of browsers bring none. */
class TokenSource {
  #listeners = new Map(); // {name of an event: function}
  #abort = new AbortController();
  #event = { name: "message", data: [] };
  onerror = null;
  readyState = 0; // connecting; 1: open, 2: closed, after an answer that is no stream
  /** @type {?FanwiseError} What a refusal says. */
  refusal = null;

  constructor(url, tokens, channel) {
    this.#read(url, tokens, channel);
  }

  addEventListener(name, listener) {
    this.#listeners.set(name, listener);
  }

  close() {
    this.readyState = 2;
    this.onerror = null;
    this.#listeners.clear();
    this.#abort.abort();
  }

  async #read(url, tokens, channel) {
    try {
      const headers = { Accept: "text/event-stream", Authorization: `Bearer ${await tokens.current()}` };
      const response = await fetch(url, { headers, cache: "no-store", signal: this.#abort.signal });
      if (response.ok) {
        this.readyState = 1;
        await this.#take(response.body.pipeThrough(new TextDecoderStream()).getReader());
      } else {
        await this.#refused(response, tokens, channel);
      }
    } catch (error) {
      if (error instanceof FanwiseError) {
        [this.refusal, this.readyState] = [error, 2];
      }
    }
    this.onerror?.();
  }

  async #refused(response, tokens, channel) {
    this.readyState = 2;
    const error = await errorOf(response, channel);
    const final = response.status >= 400 && response.status < 500 && response.status !== 429;
    if (response.status === 401 && tokens.renewable) {
      tokens.discard();
      this.refusal = new FanwiseError("token", `the server did not take the token: ${error.message}`, { channel });
    } else if (final) {
      this.refusal = error;
    }
  }

  async #take(reader) {
    let rest = "";
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      const lines = (rest + read.value).split("\n"); // which is all that the server ends a line with
      rest = lines.pop();
      lines.forEach((line) => this.#line(line));
    }
  }

  #line(line) {
    const [, field, value] = /^(event|data): ?(.*)$/.exec(line) ?? [];
    if (line === "") {
      const { name, data } = this.#event;
      this.#event = { name: "message", data: [] };
      data.length > 0 && this.#listeners.get(name)?.({ data: data.join("\n") });
    } else if (field === "event") {
      this.#event.name = value;
    } else if (field === "data") {
      this.#event.data.push(value);
    }
  }
}

/**
 * One channel over Server-Sent Events. An EventSource would come back by itself, but without jitter, for ever or never
 * as the browser sees fit, and after the last event rather than our position: so each source is used once.
 */
class EventStream {
  state = "connecting";
  #owner;
  #subscription;
  #changed; // (detail) => void
  #refused; // (error) => void
  #source = null;
  #retry;
  #deadline;
  #steady;
  #abort = new AbortController();

  constructor(owner, subscription, { changed, refused, attempts }) {
    this.#owner = owner;
    this.#subscription = subscription;
    this.#changed = changed;
    this.#refused = refused;
    this.#retry = new Retry(() => this.open(), owner.options, attempts);
  }

  /** @throws {FanwiseError} No URL can name the channel. */
  open() {
    const { options, tokens } = this.#owner;
    const url = this.#url();
    let source;
    try {
      source = tokens === null ? new options.EventSource(url) : new TokenSource(url, tokens, this.#subscription.channel);
    } catch (error) {
      this.#lost({ code: LOST, reason: String(error) });
      return;
    }
    this.#source = source;
    const receive = ({ data }) => this.#received(data);
    for (const name of ["subscribed", "message", "gap", "direct"]) {
      source.addEventListener(name, receive);
    }
    source.addEventListener("close", ({ data }) => this.#closed(parseObject(data) ?? {}));
    source.onerror = () => this.#failed(url);
    this.#deadline = setTimeout(() => this.#lost({ code: LOST, reason: "no answer in time" }), options.welcomeMs);
    this.#set("connecting");
  }

  hurry() {
    this.#retry.now();
  }

  close() {
    this.#retry.stop();
    this.#drop();
    this.#abort.abort();
    this.state = "closed";
  }

  #url() {
    const { channel, position, last, filter = {} } = this.#subscription;
    const url = besideUrl(this.#owner.url, "sse", channel);
    url.searchParams.set("format", "json");
    if (position !== null) {
      url.searchParams.set("since", `${position.epoch}:${position.offset}`);
    } else if (last !== undefined) {
      url.searchParams.set("last", last);
    }
    appendTags(url, "filter", filter);
    return url.href;
  }

  #received(data) {
    const frame = parseObject(data);
    if (frame === null) {
      this.#owner.broken(data);
      return;
    }
    if (frame.op === "subscribed") {
      clearTimeout(this.#deadline);
      this.#steady = setTimeout(() => this.#retry.succeeded(), this.#owner.options.steadyMs);
      this.#owner.welcomed({});
      this.#set("open");
    }
    this.#owner.received(frame);
  }

  #closed({ code = LOST, reason = "", retry_ms }) {
    if (code === EXPIRED) {
      this.#owner.tokens?.discard();
    }
    if (mayReconnect(code)) {
      this.#lost({ code, reason, retry_ms });
    } else {
      this.#refused(closedError({ code, reason }, { channel: this.#subscription.channel }));
    }
  }

  /** An EventSource does not say what went wrong. If it gave up before it began, the answer to a request does. */
  async #failed(url) {
    const refused = this.state === "connecting" && this.#source.readyState === 2; // CLOSED: an answer, but no stream
    const { refusal } = this.#source; // null: of a TokenSource, which needs no other request
    this.#drop();
    const error = refused ? (refusal === undefined ? await this.#refusal(url) : refusal) : null;
    if (this.state === "closed") {
      return;
    }
    if (error?.code === "token") {
      this.#owner.troubled(error);
    }
    if (error === null || error.code === "token") {
      this.#lost({ code: LOST, reason: "" });
    } else {
      this.#refused(error);
    }
  }

  async #refusal(url) {
    try {
      const response = await fetch(url, { signal: within(this.#owner.options.welcomeMs, this.#abort.signal) });
      if (response.status >= 400 && response.status < 500 && response.status !== 429) {
        return await errorOf(response, this.#subscription.channel);
      }
      await response.body?.cancel();
    } catch {
      // Not reachable any more: worth another attempt, like every answer that is not final.
    }
    return null;
  }

  #lost({ code, reason, retry_ms }) {
    const wasOpen = this.state === "open";
    this.#drop();
    this.#owner.interrupted(this.#subscription.channel);
    if (wasOpen || !this.#owner.failed()) {
      const retryMs = this.#retry.later(hintOf({ retry_ms }));
      this.#set("waiting", { code, reason, retryMs });
    }
  }

  #drop() {
    clearTimeout(this.#deadline);
    clearTimeout(this.#steady);
    if (this.#source !== null) {
      this.#source.onerror = null;
      this.#source.close();
      this.#source = null;
    }
  }

  #set(state, detail) {
    this.state = state;
    this.#changed(detail);
  }
}

/** An EventSource per channel; what is published goes by `fetch`, one after the other, so that the order is kept. */
class EventLink {
  kind = "sse";
  #owner;
  #attempts;
  #streams = new Map(); // {channel: EventStream}
  #posts = Promise.resolve();
  #abort = new AbortController();

  constructor(owner, attempts) {
    this.#owner = owner;
    this.#attempts = attempts;
  }

  open() {
    for (const subscription of this.#owner.subscriptions()) {
      this.subscribe(subscription);
    }
    this.#owner.flush();
    this.#changed();
  }

  subscribe(subscription) {
    const { channel } = subscription;
    const { maxEventStreams } = this.#owner.options;
    if (this.#streams.size >= maxEventStreams) {
      const message = `${maxEventStreams} channels over Server-Sent Events are the most: see maxEventStreams`;
      this.#owner.refused(channel, new FanwiseError("too_many_subscriptions", message, { channel }));
      return;
    }
    const changed = (detail) => this.#changed(detail);
    const refused = (error) => {
      this.unsubscribe(channel);
      this.#owner.refused(channel, error);
    };
    const stream = new EventStream(this.#owner, subscription, { changed, refused, attempts: this.#attempts });
    this.#streams.set(channel, stream);
    try {
      stream.open();
    } catch (error) {
      refused(error);
    }
  }

  unsubscribe(channel) {
    this.#streams.get(channel)?.close();
    this.#streams.delete(channel);
    this.#changed();
  }

  publish(publication) {
    this.#posts = this.#posts.then(() => this.#post(publication));
    return true;
  }

  authenticate() {} // a token is for one request

  async ask({ id, channel }) {
    try {
      const url = besideUrl(this.#owner.url, "channels", channel);
      url.pathname += "/presence";
      const signal = within(this.#owner.options.welcomeMs, this.#abort.signal);
      const response = await fetch(url, { headers: await this.#headers(), signal });
      if (!response.ok) {
        throw await errorOf(response, channel);
      }
      this.#owner.received({ ...(await response.json()), op: "presence", id, channel });
    } catch (error) {
      const { code, message } = error instanceof FanwiseError ? error : { code: "http", message: String(error) };
      this.#owner.received({ op: "error", id, channel, code, message });
    }
  }

  hurry() {
    this.#streams.forEach((stream) => stream.hurry());
  }

  close() {
    this.#abort.abort();
    this.#streams.forEach((stream) => stream.close());
    this.#streams.clear();
  }

  async #post({ id, channel, key, tags, traceparent, json, bytes }) {
    try {
      const headers = await this.#headers(bytes === null ? "application/json" : "application/octet-stream");
      const response = await fetch(this.#publishUrl(channel, key, tags), {
        method: "POST",
        headers: traceparent === undefined ? headers : { ...headers, traceparent },
        body: bytes ?? json,
        signal: within(this.#owner.options.welcomeMs, this.#abort.signal),
      });
      if (response.status === 401) {
        this.#owner.tokens?.discard();
      }
      const answer = response.ok ? await response.json() : await errorOf(response, channel);
      const { code, message, epoch, offset } = answer;
      this.#owner.received({ op: response.ok ? "published" : "error", id, channel, code, message, epoch, offset });
    } catch (error) {
      if (error instanceof FanwiseError) {
        this.#owner.received({ op: "error", id, channel, code: error.code, message: error.message });
      } else {
        this.#owner.unconfirmed(id, error);
      }
    }
  }

  #publishUrl(channel, key, tags = {}) {
    const url = besideUrl(this.#owner.url, "publish", channel);
    appendTags(url, "tag", tags);
    if (key !== undefined) {
      url.searchParams.set("key", key);
    }
    return url;
  }

  async #headers(type) {
    const { options, tokens } = this.#owner;
    const secret = tokens === null ? options.apiKey : await tokens.current();
    const content = type === undefined ? {} : { "Content-Type": type };
    return secret === undefined ? content : { ...content, Authorization: `Bearer ${secret}` };
  }

  /** As far as the stream that is furthest behind. */
  #changed(detail) {
    const states = new Set(Array.from(this.#streams.values(), ({ state }) => state));
    this.#owner.state(["waiting", "connecting"].find((state) => states.has(state)) ?? "open", detail);
  }
}

const LINKS = { websocket: SocketLink, sse: EventLink };

// ---------------------------------------------------------------------------------------------------------- client

/**
 * A client of a Fanwise server: many channels over one connection.
 *
 * It reconnects after every loss, at a random time under a ceiling that doubles, after a restart when the server asks
 * it to, and at once when the browser is online again; not after `FINAL_CODES` and 4500 to 4999. What it holds
 * is bounded: a position per channel, and `maxPending` publications.
 *
 * Codes of its errors besides the server's own: `closed`, `unsubscribed`, `unconfirmed`, `too_many_pending`,
 * `bad_frame` (the server sent something that is not in the dialect), `http` (an answer that is not the server's),
 * `token` (there is no token, or the server did not take one: the client tries again).
 */
export class FanwiseClient {
  #url;
  #options;
  #told; // {onMessage, onGap, onDirect, onState, onError}
  #tokens; // null without a token
  #questions = new Map(); // {id: {id, channel, promise, resolve, reject}}: who is on a channel
  #subscriptions = new Map(); // {channel: Subscription}
  #publications = new Map(); // {id: {id, channel, key, json, bytes, sent, promise, resolve, reject}}
  #lastId = 0;
  #maxMessageBytes = Infinity;
  #state = "connecting";
  #end = null; // {code, reason} once closed
  #everWelcomed = false;
  #failures = 0; // attempts, until the first welcome
  #owner = this.#makeOwner();
  #link;
  #hurry = () => this.#link.hurry();

  /**
   * Connects; nothing needs to be awaited before subscribing or publishing.
   *
   * @param {string|URL} url  Of the server's `/ws`: `ws:`, `wss:`, `http:`, `https:`, or relative to the page.
   * @param {object} [options]
   * @param {(message: Message) => void} [options.onMessage]  For subscriptions without a handler of their own.
   * @param {(gap: Gap) => void} [options.onGap]  Likewise; a warning on the console by default.
   * @param {(data: *) => void} [options.onDirect]  What the server sends to this client alone.
   * @param {(state: State, detail: StateDetail) => void} [options.onState]
   * @param {(error: FanwiseError) => void} [options.onError]  What no promise tells; by default on the console.
   * @param {string} [options.apiKey]  For servers that ask for one before they publish. Whoever can read the page can
   *     read it.
   * @param {Token} [options.token]  Of the user, in place of a key.
   * @param {"auto"|"websocket"|"sse"} [options.transport]  "auto" takes Server-Sent Events when three attempts with
   *     WebSockets have failed and none was ever welcomed.
   * @param {number} [options.backoffMs]  The first ceiling; it doubles with each attempt that fails.
   * @param {number} [options.maxBackoffMs]  The last ceiling.
   * @param {number} [options.welcomeMs]  How long an attempt may take.
   * @param {number} [options.steadyMs]  How long a connection has to live until the ceiling is the first one again:
   *     who is taken in and dropped at once should not come back at full speed.
   * @param {number} [options.maxPending]  How many publications may wait for a connection or an answer.
   * @param {number} [options.maxEventStreams]  How many channels Server-Sent Events may carry. Over HTTP/1.1 browsers
   *     open six connections to a host, from all tabs together, and a stream takes one of them for itself: with six of
   *     them nothing could be published any more, nor the page be loaded again. Raise it where HTTP/2 is spoken.
   * @param {typeof WebSocket} [options.WebSocket]  Another implementation.
   * @param {typeof EventSource} [options.EventSource]  Another implementation.
   * @throws {TypeError} The URL, the transport or the token is none of these, or there are a key and a token.
   */
  constructor(
    url,
    {
      onMessage = ignore,
      onGap = (gap) => console.warn("fanwise: publications are missing", gap),
      onDirect = ignore,
      onState = ignore,
      onError = (error) => console.error(error),
      apiKey,
      token,
      transport = "auto",
      backoffMs = 500,
      maxBackoffMs = 30_000,
      welcomeMs = 10_000,
      steadyMs = 5000,
      maxPending = 1000,
      maxEventStreams = 5,
      WebSocket = globalThis.WebSocket,
      EventSource = globalThis.EventSource,
    } = {},
  ) {
    if (transport !== "auto" && !Object.hasOwn(LINKS, transport)) {
      throw new TypeError(`transport ${JSON.stringify(transport)} must be "auto", "websocket" or "sse"`);
    }
    if (apiKey !== undefined && token !== undefined) {
      throw new TypeError("apiKey and token both say who the client is: give one");
    }
    this.#url = socketUrl(url);
    this.#told = { onMessage, onGap, onDirect, onState, onError };
    this.#options = { apiKey, transport, WebSocket, EventSource };
    Object.assign(this.#options, { backoffMs, maxBackoffMs, welcomeMs, steadyMs, maxPending, maxEventStreams });
    this.#tokens = token === undefined ? null : this.#makeTokens(token);
    globalThis.addEventListener?.("online", this.#hurry);
    this.#open(transport === "sse" ? "sse" : "websocket");
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  /** @returns {"websocket"|"sse"} */
  get transport() {
    return this.#link.kind;
  }

  /** @returns {Map<string, Position>} Per channel the last offset that was delivered or told as missing: a copy. */
  get positions() {
    const known = [...this.#subscriptions.values()].filter(({ position }) => position !== null);
    return new Map(known.map(({ channel, position }) => [channel, { ...position }]));
  }

  /**
   * Subscribes to a channel: from now on, or after a position.
   *
   * @param {string} channel
   * @param {object} [options]
   * @param {Position} [options.since]  What of this channel came last: the next one is the first that comes.
   * @param {number} [options.last]  Begin so many publications before the newest, instead.
   * @param {Object<string, string|string[]>} [options.filter]  Only publications with these tags come, each with the
   *     value or one of the values; others are no gap.
   * @param {(message: Message) => void} [options.onMessage]  In place of the client's.
   * @param {(gap: Gap) => void} [options.onGap]  In place of the client's.
   * @param {(change: PresenceChange) => void} [options.onPresence]  Asks for the users that join and leave; not over
   *     Server-Sent Events.
   * @returns {Promise<Position>} Where the stream begins, when the server has said so. Rejects with a FanwiseError.
   */
  subscribe(
    channel,
    { since, last, filter, onMessage = this.#told.onMessage, onGap = this.#told.onGap, onPresence } = {},
  ) {
    return promised(() => {
      this.#assertOpen(channel);
      assertChannel(channel);
      assertBeginning({ since, last });
      assertTags("filter", filter);
      if (this.#subscriptions.has(channel)) {
        throw new FanwiseError("already_subscribed", `already subscribed to ${JSON.stringify(channel)}`, { channel });
      }
      const subscription = new Subscription(channel, { since, last, filter, onMessage, onGap, onPresence });
      this.#subscriptions.set(channel, subscription);
      this.#link.subscribe(subscription);
      return subscription.began.promise;
    });
  }

  /**
   * Ends a subscription: nothing of it is delivered after this call.
   *
   * @param {string} channel
   * @returns {Position|undefined} How far it came.
   */
  unsubscribe(channel) {
    const subscription = this.#subscriptions.get(channel);
    if (subscription === undefined) {
      return undefined;
    }
    this.#subscriptions.delete(channel);
    subscription.end();
    this.#link.unsubscribe(channel);
    abandon(subscription.began, new FanwiseError("unsubscribed", "unsubscribed before it began", { channel }));
    return subscription.position ?? undefined;
  }

  /**
   * Publishes, or waits for a connection to publish over. What one client publishes keeps its order.
   *
   * @param {string} channel
   * @param {*} data  Anything that JSON can carry, or an ArrayBuffer or a view of one, which goes out as binary.
   * @param {object} [options]
   * @param {string} [options.key]  What the publication is the newest state of.
   * @param {Object<string, string>} [options.tags]  What filters look at.
   * @param {boolean} [options.echo]  false: not to this client, over a WebSocket.
   * @param {string} [options.traceparent]  The span that the publication belongs to (W3C Trace Context), for servers
   *     that trace.
   * @returns {Promise<Position>} Where it stands in the channel's log. Rejects with an UnconfirmedError if the
   *     connection was lost while it was on its way, and with a FanwiseError if it was not published.
   */
  publish(channel, data, { key, tags, echo, traceparent } = {}) {
    return promised(() => {
      this.#assertOpen(channel);
      assertChannel(channel);
      assertTags("tags", tags);
      const bytes = binaryOf(data);
      const json = bytes === null ? JSON.stringify(data) : null;
      if (json === undefined) {
        throw new TypeError("data must be something that JSON can carry, or bytes");
      }
      this.#assertFits(channel, bytes ?? utf8(typeof data === "string" ? data : json));
      this.#lastId += 1;
      const about = { channel, key, tags, echo, traceparent, json, bytes };
      const publication = { id: this.#lastId, ...about, sent: false, ...deferred() };
      this.#publications.set(publication.id, publication);
      publication.sent = this.#link.publish(publication);
      return publication.promise;
    });
  }

  /**
   * Asks who is on a channel, or waits for a connection to ask over.
   *
   * @param {string} channel
   * @returns {Promise<Presence>} Rejects with a FanwiseError.
   */
  presence(channel) {
    return promised(() => {
      this.#assertOpen(channel);
      assertChannel(channel);
      this.#assertRoom(this.#questions, "questions", channel);
      this.#lastId += 1;
      const question = { id: this.#lastId, channel, ...deferred() };
      this.#questions.set(question.id, question);
      this.#link.ask(question);
      return question.promise;
    });
  }

  /** Closes the connection for good. What still waits for an answer is rejected. */
  close() {
    if (this.#end === null) {
      this.#finish(OUR_CLOSE, abandon);
    }
  }

  #assertOpen(channel) {
    if (this.#end !== null) {
      throw closedError(this.#end, { channel });
    }
  }

  #assertFits(channel, { length }) {
    if (length > this.#maxMessageBytes) {
      const message = `${length} bytes are more than the ${this.#maxMessageBytes} that the server takes`;
      throw new FanwiseError("too_big", message, { channel });
    }
    this.#assertRoom(this.#publications, "publications", channel);
  }

  #assertRoom({ size }, what, channel) {
    if (size >= this.#options.maxPending) {
      const message = `${this.#options.maxPending} ${what} are waiting already`;
      throw new FanwiseError("too_many_pending", message, { channel });
    }
  }

  #makeTokens(token) {
    const renewed = (newest) => this.#link.authenticate(newest);
    const failed = (error) => call(this.#told.onError, error);
    return new Tokens(token, { options: this.#options, renewed, failed });
  }

  /** What the links know of this client. */
  #makeOwner() {
    const client = this;
    return {
      get url() {
        return client.#url;
      },
      get options() {
        return client.#options;
      },
      get tokens() {
        return client.#tokens;
      },
      subscriptions: () => client.#subscriptions.values(),
      flush: () => client.#flush(),
      state: (state, detail) => client.#changed(state, detail),
      welcomed: (welcome) => client.#welcomed(welcome),
      received: (frame) => client.#received(frame),
      broken: (what, cause) => client.#broken(what, cause),
      interrupted: (channel) => client.#interrupted(channel),
      unconfirmed: (id, cause) => client.#unconfirmed(id, cause),
      refused: (channel, error) => client.#refused(channel, error),
      troubled: (error) => call(client.#told.onError, error),
      failed: () => client.#failed(),
      ended: (end) => client.#ended(end),
    };
  }

  #open(kind) {
    this.#link = new LINKS[kind](this.#owner, this.#failures);
    this.#link.open();
  }

  #changed(state, detail = {}) {
    if (state !== this.#state && this.#state !== "closed") {
      this.#state = state;
      call(this.#told.onState, state, { transport: this.#link.kind, ...detail });
    }
  }

  #welcomed({ max_message_bytes }) {
    this.#everWelcomed = true;
    this.#maxMessageBytes = max_message_bytes ?? Infinity;
    if (this.#link.kind === "websocket") {
      this.#subscriptions.forEach((subscription) => this.#link.subscribe(subscription));
      this.#questions.forEach((question) => this.#link.ask(question));
      this.#flush();
    }
  }

  /** Sends what is not on its way yet, in order. */
  #flush() {
    for (const publication of this.#publications.values()) {
      publication.sent ||= this.#link.publish(publication);
    }
  }

  #received(frame) {
    try {
      this.#take(frame);
    } catch (error) {
      this.#broken(frame, error);
    }
  }

  /** One object of the dialect. Of an op that we do not know yet nothing is expected here. */
  #take(frame) {
    switch (frame.op) {
      case "subscribed":
      case "message":
      case "gap":
      case "skipped":
        this.#subscriptions.get(frame.channel)?.received(frame);
        break;
      case "published":
        this.#settle(frame.id, ({ resolve }) => resolve({ epoch: frame.epoch, offset: frame.offset }));
        break;
      case "join":
      case "leave":
      case "presence_gap":
        this.#subscriptions.get(frame.channel)?.changed(frame);
        break;
      case "presence":
        this.#settle(frame.id, ({ resolve }) => resolve(presenceOf(frame)), this.#questions);
        break;
      case "direct":
        call(this.#told.onDirect, dataOf(frame));
        break;
      case "unsubscribed": // nobody asked for it: those that were asked for, the link takes
        this.#ousted(frame.channel);
        break;
      case "error":
        this.#refusedByServer(frame);
        break;
      default:
    }
  }

  #settle(id, act, waiting = this.#publications) {
    const one = waiting.get(id);
    waiting.delete(id);
    if (one !== undefined) {
      act(one);
    }
  }

  #ousted(channel) {
    if (this.#subscriptions.has(channel)) {
      const message = "the server has ended the subscription: the user has no right to it any more";
      this.#refused(channel, new FanwiseError("forbidden", message, { channel }));
    }
  }

  /** An error belongs to the publication or the question with its id, else to the subscription to its channel, else to nobody. */
  #refusedByServer({ code, message, id, channel }) {
    const error = new FanwiseError(String(code), String(message), { channel });
    if (this.#questions.has(id)) {
      this.#settle(id, ({ reject }) => reject(error), this.#questions);
      return;
    }
    const publication = id ?? (code === "bad_json" ? this.#oldest() : undefined);
    if (publication !== undefined) {
      this.#settle(publication, ({ reject }) => reject(error));
    } else if (this.#subscriptions.has(channel)) {
      this.#refused(channel, error);
    } else {
      call(this.#told.onError, error);
    }
  }

  /** What the server could not read has no id: an unpaired surrogate, for one. Its answers keep the order. */
  #oldest() {
    return this.#publications.keys().next().value;
  }

  /** A subscription ends: its promise tells if it has not begun, else `onError`. */
  #refused(channel, error) {
    const subscription = this.#subscriptions.get(channel);
    this.#subscriptions.delete(channel);
    error.position = subscription.position ?? undefined;
    if (subscription.hasBegun) {
      call(this.#told.onError, error);
    } else {
      subscription.began.reject(error);
    }
  }

  #broken(what, cause) {
    const text = typeof what === "string" ? what : JSON.stringify(what);
    const message = `the server sent something that is not in the dialect: ${String(text).slice(0, 200)}`;
    call(this.#told.onError, new FanwiseError("bad_frame", message, { cause }));
  }

  #interrupted(channel) {
    const lost = channel === undefined ? this.#subscriptions.values() : [this.#subscriptions.get(channel)];
    for (const subscription of lost) {
      subscription?.interrupted();
    }
  }

  #unconfirmed(id, cause) {
    const lost = [...this.#publications.values()].filter((one) => one.sent && (id === undefined || one.id === id));
    for (const { id: lostId, channel } of lost) {
      this.#settle(lostId, ({ reject }) => reject(new UnconfirmedError(channel, cause)));
    }
  }

  /** Takes the other transport when one has failed often enough and neither has ever worked. */
  #failed() {
    this.#failures += 1;
    if (this.#everWelcomed || this.#options.transport !== "auto" || this.#failures % FALLBACK_AFTER !== 0) {
      return false;
    }
    this.#link.close();
    this.#open(this.#link.kind === "sse" ? "websocket" : "sse");
    return true;
  }

  #ended(end) {
    this.#finish(end, ({ reject }, error) => reject(error));
    call(this.#told.onError, closedError(end));
  }

  /** The subscriptions stay, so that `positions` still tells how far they came. */
  #finish(end, reject) {
    this.#end = end;
    this.#link.close();
    this.#tokens?.stop();
    globalThis.removeEventListener?.("online", this.#hurry);
    for (const publication of this.#publications.values()) {
      const { sent, channel } = publication;
      reject(publication, sent ? new UnconfirmedError(channel) : closedError(end, { channel }));
    }
    this.#publications.clear();
    for (const question of this.#questions.values()) {
      reject(question, closedError(end, { channel: question.channel }));
    }
    this.#questions.clear();
    for (const subscription of this.#subscriptions.values()) {
      subscription.end();
      reject(subscription.began, closedError(end, { channel: subscription.channel }));
    }
    this.#changed("closed", end);
  }
}
