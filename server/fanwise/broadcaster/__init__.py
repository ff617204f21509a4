"""The hub on an event loop. Every task of the server is created here.

    node         hub, publisher and registry on one event loop
    publisher    into the log at once, to the sockets at the pace of the sweeps
    registry     the clients of this process, and the latest that were closed
    audit        everything back within its bounds, four times a second; which clients have to go
    subscriptions  a client's queues, by channel
    drain        clients leave one after the other before the server stops
    statistics   plain tuples about a node
    inspector    answers about a node: who is behind, what is busy, what is retained
    event_log    what happens, as log lines
    turns        the order in which clients come back and catch up; long lists in turns
    sweep        writes what is new to each ready client, once per turn of the event loop
    host         what clients get of the event loop: turns and tasks
    client       one live connection, and the task that writes to it while it is behind
    outbox       a client's bytes on their way to its sink
    looplag      how late the event loop is
    sink         Protocols: where a client's bytes go, and where its messages come from

Sockets, uvicorn and FastAPI are unknown here: bytes leave through a `sink`.
"""
