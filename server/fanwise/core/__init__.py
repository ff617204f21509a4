"""The synchronous half of the server: no asyncio, no I/O, no logging, no clock.

    hub          channels by name, and their queues: a new one begins at the head, or resumes
    retention    which channels and publications stay, and for how long
    channel      a log with the queues onto it
    dialect      the words for one kind of client
    deflate      compressed frames, one per publication
    group        a channel's ready clients, in cohorts that share a cursor
    lease        the right to write to a descriptor beside its transport
    counters     plain integers and histograms
    trace_reader bytes to the records of a trace
    trace        what was published and taken, as a compact file that can be replayed
    shelf        the books on channels that are kept for equally long
    filtered     queues and ready groups of clients with a filter
    selection    the publications of a log that a filter lets through, each decided once
    filters      tags of publications and filters of clients, and their bounds
    queue        a client's window onto a log
    excluding    a queue that passes over publications which are its client's own
    log          a channel's retained publications
    encoding     how a publication becomes bytes, once: frames, chunks, events
    addresses    addresses as headers spell them, and which of them count as one peer
    publication  a publication, its position, and the rule for channel names
    forgiven     the rule of pauses: how long a client may stop reading, and which bound ends that
    options      what is said about channels by name or pattern: `ChannelOptions`
    namespaces   the options in force for the channels of a pattern, found by a name
    programs     channels of our own programs, told by their names
    rights       users, and what the application lets them do
    presence     the users on a channel, and what has changed there
    ranks        a set in pieces, of which nobody has to touch thousands at once
    journal      who has come and gone lately, for other workers
    roles        keys of the server, and what each is for
    reasons      the closed tables: why a connection ended, why publications are missing
    codes        the closed table of error codes, with their HTTP statuses

A call returns its effects; the caller logs and schedules. Every rule is therefore tested without an event loop.
"""
