"""Redis >= 6.2 and Valkey as the engine. Needs the extra `redis`.

    address   where an engine is: URLs, passwords, TLS, sentinels
    link      one connection: replies and pushes in the order of the wire
    primary   where the primary is now: as sentinels know it, or as its name resolves
    dial      a new link: who is there, may we, and the scripts
    tail      the frames of a shard: each is applied once, and what is missing is fetched or told
    facts     what Redis says of itself to an operator
    touches   channels in use stay in the engine
    opens     channels that wait for the shard to say where they stand
    taking    frames as `publish.lua` takes them: the runs to one channel together
    shard     one engine, and the link to it for as long as the server runs
    fleet     the workers behind one engine: their cards, questions and answers, over a link of their own
    backplane all shards: `port.Backplane`

Three scripts hold the rules that must not be broken half-way: `publish.lua`, `verify.lua` and `open.lua`. One link per
shard carries all frames: what a reply says holds exactly after the frames that were pushed before it. So nothing is
buffered, merged or polled.

Keys, of which all of a shard have one hash tag: `PREFIX:{s}:` with `shard` (generation, number, lineage), `live` (a
stream of frames, and the name of the pub/sub channel), `m:CHANNEL` (epoch and head), `h:CHANNEL` (retained
publications), `w:SENDER` (the answer to the latest frame of a node) and `i:REQUEST` (digest and position of what
was published with an Idempotency-Key). The first shard also has `workers` and `cards`, which `workers.lua` keeps, and
the channels `ask` and `to:WORKER`.
"""
