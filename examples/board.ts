// Prices of one symbol, and who else looks at them: the browser client in TypeScript. `fanwise.d.ts` has the types.
// tsc needs to be told where the browser finds /static/: see "paths" in tsconfig.json.
import { FanwiseClient, FanwiseError, type Message, type Position, type PresenceChange } from "/static/fanwise.js";

interface Price {
  symbol: string;
  bid: number;
}

const isPrice = (data: unknown): data is Price => typeof data === "object" && data !== null && "bid" in data;

const client = new FanwiseClient("/ws", {
  // Called before the first connection, and again before the token's time ends.
  token: async () => {
    const response = await fetch("/token", { method: "POST" });
    if (response.status === 401) {
      throw new FanwiseError("logged_out", "log in again"); // which closes the client
    }
    return response.text();
  },
  onState: (state, { retryMs }) => console.log(state, retryMs ?? ""),
});

const members = new Map<string, unknown>();

function show({ data, offset }: Message): void {
  if (isPrice(data)) {
    console.log(`${offset}: ${data.symbol} ${data.bid.toFixed(4)}`);
  }
}

async function list(): Promise<void> {
  const { members: found, users, truncated } = await client.presence("prices");
  members.clear();
  found.forEach(({ id, info }) => members.set(id, info));
  console.log(`${users} users${truncated ? ", not all shown" : ""}`);
}

function follow({ type, id, info }: PresenceChange): void {
  if (id === undefined) {
    void list(); // changes were not told one by one
  } else if (type === "join") {
    members.set(id, info);
  } else {
    members.delete(id);
  }
}

export async function watch(symbol: string, since?: Position): Promise<Position> {
  const beginning = since === undefined ? { last: 10 } : { since };
  const position = await client.subscribe("prices", { ...beginning, filter: { symbol }, onMessage: show, onPresence: follow });
  await list();
  return position;
}

export const quote = (price: Price): Promise<Position> =>
  client.publish("prices", price, { key: price.symbol, tags: { symbol: price.symbol }, echo: false });
