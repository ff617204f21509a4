"""The synchronous half of the server: no asyncio, no I/O, no logging, no clock.

    hub          channels by name, and the clients on them
    retention    which channels and publications stay, and for how long
    channel      a log with the queues onto it
    dialect      what a kind of client is told, in which words
    group        a channel's ready clients, in cohorts that share a cursor
    lease        the right to write to a descriptor beside its transport
    counters     what is counted
    queue        a client's window onto a log
    log          a channel's retained publications
    encoding     how a publication becomes bytes
    publication  a publication, its position, and the rule for channel names
    reasons      the closed tables: why a connection ended, why publications are missing
    codes        the closed table of error codes

The caller is told what has happened, and logs and schedules; so all of it is tested without an event loop.
"""
