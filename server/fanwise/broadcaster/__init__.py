"""The hub on an event loop. Every task of the server is created here.

    node           hub, publisher and registry on one event loop
    recordings     the traces that are being made, and what a node calls only meanwhile
    tracing        a room: spans of publications, for OpenTelemetry
    trace_file     a trace into a file, from the start to the end
    recorder       one trace: publications, and clients that are behind
    publisher      into the log at once, to the sockets at the pace of the sweeps
    threads        publishing from other threads
    registry       the clients of this process, and the latest closed ones
    expiries       clients that are closed at a time
    audit          four times a second: all bounds, and the verdict on slow and stalled clients
    stretches      for how long clients were behind, how far, and for how long they took nothing
    dropped        clients that the server gave up: how much further they fall, and whether they come back
    traffic        sizes and rates of publications
    subscriptions  a client's queues, by channel
    successors     clients whose channel's log goes on elsewhere
    sharing        a node behind a backplane: what arrives, and channels that are opened
    submitter      what is published behind a backplane, handed to the engine
    looks          whether the engine has a channel, which does not begin for that
    presence       rosters: which users are on the channels
    announcer      who has come to a channel and gone, in batches, for the clients that watch
    elsewhere      the users of other workers, and what changes there
    presence_answers  what this worker answers of its users
    joined         what connects a node to others behind one engine
    survey         what is asked of all workers behind one engine, and answered by each
    drain          clients leave one after the other before the server stops
    statistics     plain tuples about a node
    inspector      answers about a node: clients behind, busy channels, retained publications
    event_log      the events of a node, as log lines
    turns          the order in which clients come back and catch up; long lists in turns
    sweep          writes new publications to the sockets of all ready clients, once per turn of the event loop
    host           turns and tasks of the event loop, for clients
    client         one live connection: its state, its queues, and its turns while it is behind
    direct         messages to one client, or to all clients of a user
    exclusions     publications that one client does not get
    hooks          functions of the application, called for what becomes of clients
    outbox         a client's bytes on their way to its sink
    looplag        how late the event loop is
    heap           free memory goes back to the kernel
    sink           Protocols: where a client's bytes go, and where its messages come from

Uvicorn and FastAPI are unknown here. Bytes leave through a `sink`, or in a sweep through leased descriptors.
"""
