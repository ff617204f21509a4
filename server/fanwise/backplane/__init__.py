"""The backplane: one engine orders the publications of several servers, and every server applies them.

    port         the Protocols and promises: what a node asks of a backplane, and hears from it
    waiting      publications that wait for the engine, bounded in number, bytes and time
    together     several publications that somebody waits for together
    counts       what a node counts of its backplane
    frames       frames: the publications that an engine takes, keeps and pushes in one piece
    questions    questions of workers to each other, and the messages in which they travel
    reconnecting a link that is lost is dialled again
    options      what all engines are told
    memory       the reference: an engine for several nodes in one process
    memory_fleet workers of one process, as they see each other
    urls         a backplane from its URL
    addresses    what the URLs of all engines have in common
    examination  what an operator should know about an engine before servers use it
    workers      the processes that `fanwise serve --workers N` runs; a map of its own inside
    redis        Redis >= 6.2 and Valkey; a map of its own inside
    nats         NATS with JetStream; a map of its own inside

Words: the *engine* gives each publication its place. A *frame* is what one node published in one turn; frames are
numbered n, densely. A *generation* g is one life of the engine's data. A *turn* is the change to a new generation, and
a *hole* is a range of frames that the engine has no more.
"""
