"""The demo: simulated clients, to see what slow and stalled ones do to the others, with Fanwise and without.

    routes      GET, PUT and DELETE /demo, and the WebSocket of the tutorial loop
    controller  one run at a time: start, change and stop it, and report on it
    run         a run: a publisher, the clients, and how they fare
    clients     the simulated clients: they come, are counted, and come back when dropped
    client      one simulated client
    connection  its WebSocket, over a real socket of this machine
    publisher   when a text is published
    stream      how texts are numbered, and read again
    rolling     counts of the last second
    target      where the simulated clients connect
    plan        the body of `PUT /demo`

Everything runs on the server's own event loop, so that what holds up the server holds up the demo too, and is
seen. The simulated clients know the wire alone: for the server they are clients like any other.
"""
