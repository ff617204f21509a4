"""`fanwise bench`: a load generator for WebSocket broadcast servers. It knows the wire, and nothing else of the server.

From the top; imports only point down:

    command             the command line
    session, options    what one call of it does
    display, record, page, charts, text     what a user sees: while it runs, as JSON, as HTML, in words
    capacity, versus    several runs: where the knee is, by which factor two servers differ
    conductor           starts the processes, takes them from phase to phase
    worker              a process: publishers and a share of the clients
    crowd               the clients of a worker, each of its kind
    score, verdict      the figures, and whether they are the server's or the generator's own
    connection, publisher, engine   sockets
    report, board       what processes tell each other
    hosts, rivals       servers as subprocesses; the two that Fanwise is measured against
    meter               CPU and memory of processes
    receiver, stream    what a client should have, and has: no I/O
    histogram, payload, wire, dialects, plan, errors

How it is cheap: all clients of a channel get the same bytes. The first one parses and checks them, and from then on one
comparison of memory per `recv` proves order, completeness and content for everybody else (`stream`). Where that fails
(a hole, a ping, a message in another place), the client is parsed message by message until it is back on the stream.
"""
