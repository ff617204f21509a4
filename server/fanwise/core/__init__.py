"""The synchronous half of the server: no asyncio, no I/O, no logging, no clock.

    hub          channels by name, and the clients on them
    retention    which channels and publications stay, and for how long
    channel      a log with the queues onto it
    dialect      the words for one kind of client
    group        a channel's ready clients, in cohorts that share a cursor
    lease        the right to write to a descriptor beside its transport
    counters     plain integers and histograms
    queue        a client's window onto a log
    log          a channel's retained publications
    encoding     how a publication becomes bytes
    publication  a publication, its position, and the rule for channel names
    reasons      the closed tables: why a connection ended, why publications are missing
    codes        the closed table of error codes

A call returns what has happened; the caller logs and schedules. So every rule is tested without an event loop.
"""
