/** What an idle server suggests: a command that puts load on this very server, with the port and what it asks for. */

import { socketUrl } from "./access.js";
import { byId, write } from "./dom.js";

/** `hasKey`: the command gets the header that this page sends. The key itself is not shown. */
export function showCommand(hasKey) {
  const header = hasKey ? ' --header "Authorization: Bearer $FANWISE_API_KEY"' : "";
  const url = `${socketUrl("ws")}?channel={channel}`;
  write(byId("bench-command"), `fanwise bench --clients 200 --rate 50 --duration 60${header} --url '${url}'`);
  byId("bench-key").hidden = !hasKey;
}

/** Seen until the first client or publication. */
export function showHint({ totals, now }) {
  byId("hint").hidden = totals.connections > 0 || totals.publications > 0 || now.clients > 0;
}
