"""`fanwise doctor`: what a server would be on this machine, or what a running one is.

    command         the command line: settings in, exit status out
    report          findings in lines for people, or as JSON
    examination     which checks there are, of a server and of the machine, in their order
    host            the server that is started to be looked at
    wire            what a server's documents and handshakes tell: fast path, deflate, loop, collector, processes
    backpressure    a client that does not read: how much vanishes before the server's writer notices
    keepalive       how slow a reader may be before it is taken for dead
    memory          the most that the settings may take, against what there is
    limits          descriptors and backlog against what the system allows
    posture         who may publish, and as how many processes
    probe           the connections that the checks look through
    machine         what the system allows, read from its files
    findings        one line: ok, warn or fail

It knows a server as a stranger does, over HTTP and WebSockets, and the machine by its files.
"""
