"""The demo: a story of one client that stops reading, played with Fanwise and with the loop of the tutorials at once.

    routes      GET, PUT and DELETE /demo, and the WebSocket of the tutorial loop
    controller  one story at a time: starts and stops it, and sends its state
    run         a run: both sides, the pace, and the story
    story       the script: phases, and when each of them ends
    side        one side: a publisher, its clients, and the client that stops
    clients     the simulated clients that read: they connect, are counted, and reconnect
    client      one simulated client
    stopping    the client that stops reading, and comes back with its position
    connection  the WebSocket of a client, over a real socket of this machine
    publisher   publishes what is due; and the pace that both sides keep
    stream      numbers messages, and reads their numbers
    rolling     counts of the last second
    target      the address that the simulated clients connect to
    plan        the body of `PUT /demo`

All parts run on the server's own event loop: a delay of the server delays the demo too, and shows. The simulated
clients know only the wire: for the server they are clients like any other.
"""
