"""The demo: simulated clients show the effect of slow and stalled ones on the others, with Fanwise and without.

    routes      GET, PUT and DELETE /demo, and the WebSocket of the tutorial loop
    controller  one run at a time: starts, changes and stops it, and sends its state
    run         a run: a publisher, the clients, and their state
    clients     the simulated clients: they connect, are counted, and reconnect
    client      one simulated client
    connection  its WebSocket, over a real socket of this machine
    publisher   publishes texts at fixed times
    stream      numbers texts, and reads their numbers
    rolling     counts of the last second
    target      the address that the simulated clients connect to
    plan        the body of `PUT /demo`

All parts run on the server's own event loop: a delay of the server delays the demo too, and shows. The simulated
clients know only the wire: for the server they are clients like any other.
"""
