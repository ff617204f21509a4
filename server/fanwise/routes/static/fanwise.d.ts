// Made from the comments of fanwise.js, by python -m tests.support.typescript --write.
/** Something that was refused or that went wrong. `code` is the server's, or one of ours: see `FanwiseClient`. */
export class FanwiseError extends Error {
    /**
     * @param {string} code  For programs.
     * @param {string} message  For people.
     * @param {{channel?: string, position?: Position, cause?: *}} [detail]  What it is about; `position` is how far a
     *     subscription had come that ends with this error.
     */
    constructor(code: string, message: string, { channel, position, cause }?: {
        channel?: string;
        position?: Position;
        cause?: any;
    });
    code: string;
    channel: string | undefined;
    position: Position | undefined;
}
/** The connection was lost before the answer to a publish: it may or may not have been published. */
export class UnconfirmedError extends FanwiseError {
    /** @param {string} channel @param {*} [cause] */
    constructor(channel: string, cause?: any);
}
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
    constructor(url: string | URL, { onMessage, onGap, onDirect, onState, onError, apiKey, token, transport, backoffMs, maxBackoffMs, welcomeMs, steadyMs, maxPending, maxEventStreams, WebSocket, EventSource, }?: {
        onMessage?: ((message: Message) => void) | undefined;
        onGap?: ((gap: Gap) => void) | undefined;
        onDirect?: ((data: any) => void) | undefined;
        onState?: ((state: State, detail: StateDetail) => void) | undefined;
        onError?: ((error: FanwiseError) => void) | undefined;
        apiKey?: string | undefined;
        token?: Token | undefined;
        transport?: "auto" | "websocket" | "sse" | undefined;
        backoffMs?: number | undefined;
        maxBackoffMs?: number | undefined;
        welcomeMs?: number | undefined;
        steadyMs?: number | undefined;
        maxPending?: number | undefined;
        maxEventStreams?: number | undefined;
        WebSocket?: {
            new (url: string | URL, protocols?: string | string[]): WebSocket;
            prototype: WebSocket;
            readonly CONNECTING: 0;
            readonly OPEN: 1;
            readonly CLOSING: 2;
            readonly CLOSED: 3;
        } | undefined;
        EventSource?: {
            new (url: string | URL, eventSourceInitDict?: EventSourceInit): EventSource;
            prototype: EventSource;
            readonly CONNECTING: 0;
            readonly OPEN: 1;
            readonly CLOSED: 2;
        } | undefined;
    });
    /** @returns {State} */
    get state(): State;
    /** @returns {"websocket"|"sse"} */
    get transport(): "websocket" | "sse";
    /** @returns {Map<string, Position>} Per channel the last offset that was delivered or told as missing: a copy. */
    get positions(): Map<string, Position>;
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
    subscribe(channel: string, { since, last, filter, onMessage, onGap, onPresence }?: {
        since?: Position | undefined;
        last?: number | undefined;
        filter?: {
            [x: string]: string | string[];
        } | undefined;
        onMessage?: ((message: Message) => void) | undefined;
        onGap?: ((gap: Gap) => void) | undefined;
        onPresence?: ((change: PresenceChange) => void) | undefined;
    }): Promise<Position>;
    /**
     * Ends a subscription: nothing of it is delivered after this call.
     *
     * @param {string} channel
     * @returns {Position|undefined} How far it came.
     */
    unsubscribe(channel: string): Position | undefined;
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
    publish(channel: string, data: any, { key, tags, echo, traceparent }?: {
        key?: string | undefined;
        tags?: {
            [x: string]: string;
        } | undefined;
        echo?: boolean | undefined;
        traceparent?: string | undefined;
    }): Promise<Position>;
    /**
     * Asks who is on a channel, or waits for a connection to ask over.
     *
     * @param {string} channel
     * @returns {Promise<Presence>} Rejects with a FanwiseError.
     */
    presence(channel: string): Promise<Presence>;
    /** Closes the connection for good. What still waits for an answer is rejected. */
    close(): void;
    #private;
}
/**
 * A place in a channel's log; the epoch says which log.
 */
export type Position = {
    epoch: string;
    offset: number;
};
export type Message = {
    channel: string;
    epoch: string;
    offset: number;
    /**
     * What JSON makes of it, or a Uint8Array if the publication is binary.
     */
    data: any;
    /**
     * What the publication is the newest state of.
     */
    key?: string | undefined;
    /**
     * What filters look at.
     */
    tags?: {
        [x: string]: string;
    } | undefined;
};
/**
 * `from` to `to` (inclusive) of the log `epoch` will not come.
 */
export type Gap = {
    channel: string;
    epoch: string;
    from: number;
    /**
     * `from - 1` if nothing of this log is missing, as after a change of the epoch.
     */
    to: number;
    /**
     * The log did not reach back so far; the log of
     * our position is gone, and with it whatever came after that position; this client was too slow; the engine behind
     * several servers has them no more; a hole that nobody told.
     */
    reason: "history" | "epoch" | "slow" | "backplane" | "unknown";
};
/**
 * A user on a channel, once however many connections the user has.
 */
export type Member = {
    id: string;
    /**
     * What others may know of the user.
     */
    info?: any;
};
/**
 * The users on a channel at one time.
 */
export type Presence = {
    channel: string;
    /**
     * How many connections are on the channel.
     */
    clients: number;
    /**
     * How many users they belong to.
     */
    users: number;
    members: Member[];
    /**
     * Whether `members` leaves users out.
     */
    truncated: boolean;
};
/**
 * A user came (or has another info), or left with the last connection. "gap": users
 *    came and left without being told one by one, as while the connection was lost: ask again if you list them.
 */
export type PresenceChange = {
    type: "join" | "leave" | "gap";
    channel: string;
    /**
     * Of the user; undefined for a gap.
     */
    id?: string | undefined;
    /**
     * Of the user that joins.
     */
    info?: any;
    /**
     * How many users there are, where a gap says so.
     */
    users?: number | undefined;
};
/**
 * A token, or the function that fetches one. It is called before
 *    the first connection, and again before the token's time ends. If it throws, the client tries again later; if it
 *    throws a FanwiseError, the client is closed.
 */
export type Token = string | (() => string | Promise<string>);
/**
 * "waiting" to connect again; "closed" is for good.
 */
export type State = "connecting" | "open" | "waiting" | "closed";
export type StateDetail = {
    transport: "websocket" | "sse";
    /**
     * Why it was lost or closed: a close code of RFC 6455 section 7.4, or of the server.
     */
    code?: number | undefined;
    reason?: string | undefined;
    /**
     * When "waiting": until the next attempt.
     */
    retryMs?: number | undefined;
};
