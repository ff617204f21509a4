"""NATS with JetStream, nats-server >= 2.10, as the engine. Needs no library: its protocol is lines of text.

    address   where an engine is: URLs, passwords, TLS
    link      one connection: replies and deliveries in the order of the wire
    dial      a new link: who is there, and may we
    life      which life of the data this is: a stream for each, and a witness that names the present one
    messages  what one node has published to one channel, in one message of the stream
    tail      the messages of the stream: each is applied once, and what is missing is told
    sending   publishing: a message is taken only behind the one that its node has heard
    turns     the order in which nodes publish to a channel that several of them want at once
    reader    where a channel stands, and what came before
    opens     channels that wait to hear where they stand
    fleet     the workers behind the engine, as one of them sees the others
    backplane one engine, and the link to it: `port.Backplane`

The stream's sequence orders all publications; a message carries the offset of its first publication, and is taken only
if its node knew the newest message of the channel. Readers need nothing else: an offset is true as it stands.

Streams: `PREFIX-LIFE` with the subjects `PREFIX.c.LIFE.CHANNEL`, `PREFIX-life` with `PREFIX.life`, the witness, and
`PREFIX-cards` with `PREFIX.cards.WORKER`. Subjects without a stream: `PREFIX.turn`, `PREFIX.ask` and
`PREFIX.to.WORKER`.
"""
