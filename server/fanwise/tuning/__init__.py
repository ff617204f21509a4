"""What-if: traffic that was recorded or planned, through the real hub on a virtual clock, for settings to choose.

    proposal        what to set, what that costs, and how sure it is
    report          a proposal as text, environment, TOML and JSON
    page            a proposal as a page with curves
    prove           a plan as a load of `fanwise bench`, before and after
    recording       a scene as data that `fanwise bench` plays
    search          which settings matter, and which values serve best
    traced          a scene from a trace
    plan            a scene from a few figures
    estimate        how fast a client emptied its socket, as far as its stretches show
    visits          the records of a trace, by connection
    replay          a scene through the real hub, sweeps, clients and audits
    pings           the keep-alive of a replay
    virtual_socket  a simulated socket: the kernel's room, and a reader
    clockwork       a virtual event loop
    outcome         settings to try, and what a replay has shown
    scene           what is published, and who reads how fast

Simulated are sockets, readers and time; all else is the server's own. Only `cli` imports this room.
"""
