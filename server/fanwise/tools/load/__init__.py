"""Shared by the load generator and the demo.

    behaviour  how simulated clients behave
    wire       RFC 6455 from the client's side
    histogram  latencies in bounded memory
    tutorial   the loop of the tutorials, for comparison

All but the loop is without I/O.
"""
