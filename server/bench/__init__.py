"""`fanwise bench`: a load generator for WebSocket broadcast servers. It knows the wire, and nothing else of the server.

From the top; imports only point down:

    command             the command line
    capacity, versus    several runs: where the knee is, which of two servers is faster by which factor
    display, text, page, record     what a user sees: while it runs, at the end, as HTML, as JSON
    conductor           starts the processes, takes them from phase to phase
    worker              a process: publishers and a share of the clients
    crowd               the clients of a worker, each of its kind
    connection, publisher, engine   sockets
    score, verdict      the figures, and whether they are the server's or the generator's own
    report, board       what processes tell each other
    receiver, stream    what a client should have, and has
    --------------      no I/O below
    histogram, payload, wire, dialects, plan, errors
    hosts, rivals       servers as subprocesses; the two that Fanwise is measured against

How it is cheap: all clients of a channel get the same bytes. The first one parses and checks them, and from then on one
comparison of memory per `recv` proves order, completeness and content for everybody else (`stream`). Where that fails
(a hole, a ping, a message in another place), the client is parsed message by message until it is back on the stream.
"""
