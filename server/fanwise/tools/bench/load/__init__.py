"""The load itself: the clients and publishers of one worker process.

    crowd       the clients of a worker, each of its kind
    habits      when clients of each kind read, and when they leave
    client      a client over all of its connections
    supply      how many bytes a second a client reads, over time
    agenda      what clients are about to do, and when
    connection  one socket from `connect` to its end
    engine      the receiving loop
    publisher   sends the messages of one channel
    pace        when messages are due
    snapshots   what a worker reports, as plain data
    receiver    what a client has, and should have
    stream      the bytes that a channel's clients are about to get
    dialects    how to speak to a server
    plan        the numbers that all processes of a run agree on
    recording   traffic that was recorded, to be played again
    payload     what a message carries, so that each client can check it

`receiver` and `stream` decide without I/O what a client should have.
"""
