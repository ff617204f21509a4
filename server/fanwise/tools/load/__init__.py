"""What the load generator and the demo share.

    wire       RFC 6455 from the client's side
    histogram  latencies in bounded memory

Nothing here does I/O.
"""
