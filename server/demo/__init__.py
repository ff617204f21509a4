"""The demo: a crowd of simulated clients, to see what slow and stalled ones do to the others, with Fanwise and without.

From the top; imports only point down:

    routes              GET, PUT and DELETE /demo, and the WebSocket of the tutorial loop
    stage               one show at a time: starting, changing, stopping it, telling how it goes
    show                what runs: a publisher, a crowd, and how they fare
    crowd               the simulated clients: they come, are counted, and come back when they were dropped
    client, connection  one of them; its WebSocket, over a real socket of this machine
    publisher, stream   what is published, and when; how it is numbered and read again
    tutorial            the loop of the tutorials, for comparison
    window              what came in the last second
    place, plan         where the server is; what to play

Everything runs on the server's own event loop, so that what holds up the server holds up the demo too, and is seen. The
simulated clients know the wire alone: for the server they are clients like any other.
"""
