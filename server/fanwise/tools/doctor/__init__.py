"""`fanwise doctor`: what a server would be on this machine, or what a running one is.

    checks          which checks there are, of a server and of the machine, in their order
    server_process  the server that is started to be looked at
    handshake       fast path, deflate, loop, collector, processes: from documents and handshakes
    backpressure    how much vanishes before the server notices a client that does not read
    keepalive       how slow a reader may be before it is taken for dead
    memory          the most that the settings may take, against what there is
    limits          descriptors and backlog against what the system allows
    engine          the engine behind several servers: whether it can be used, and what it would lose
    exposure        who may publish, and as how many processes
    probe           the connections that the checks look through
    system          what the system allows, read from its files
    report          findings in lines for people, or as JSON
    findings        one line: ok, warn or fail

The room knows a server as a stranger does, over HTTP and WebSockets, and the machine by its files.
"""
