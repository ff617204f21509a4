/** Requests to the server, with its key if it asks for one. The key is kept in this tab, and goes with it. */

const STORED = "fanwise.key";
const PATIENCE_MS = 10_000;

/** Storage may be forbidden; then the key lives as long as the page. */
function stored(act) {
  try {
    return act(sessionStorage);
  } catch {
    return null;
  }
}

export class Access {
  /** The key, or undefined. */
  key = stored((storage) => storage.getItem(STORED)) ?? undefined;

  set(key) {
    this.key = key;
    stored((storage) => storage.setItem(STORED, key));
  }

  forget() {
    this.key = undefined;
    stored((storage) => storage.removeItem(STORED));
  }

  /**
   * `fetch`, with the key. All URLs are relative to the page.
   *
   * @throws {TypeError} The server cannot be reached, or a header cannot carry the key.
   */
  fetch(url, { headers = {}, ...options } = {}) {
    const key = this.key === undefined ? {} : { Authorization: `Bearer ${this.key}` };
    const signal = AbortSignal.timeout(PATIENCE_MS);
    return fetch(url, { cache: "no-store", signal, ...options, headers: { ...headers, ...key } });
  }
}

/** The address of a WebSocket beside the page. */
export function socketUrl(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol.replace(/^http/, "ws");
  url.hash = "";
  return url;
}

/** What an answer says went wrong, in words. */
export async function problemOf(response) {
  try {
    const { error, detail } = await response.json();
    return String(error?.message ?? detail ?? `status ${response.status}`);
  } catch {
    return `status ${response.status}`;
  }
}
