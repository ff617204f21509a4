"""Connections under uvicorn and ASGI: how bytes reach a socket, and what a peer may send.

    websocket_protocol    uvicorn's WebSocket protocol class: the handshake, and the application's side
    websocket_connection  a WebSocket from its handshake on: protocol and sink in one
    socket_sink           what WebSockets and event streams have in common: a protocol that is its client's sink
    event_stream_connection  an event stream from its head on, without a task
    surroundings          what all connections of a server share
    newcomer              connections before their first request: the door's, or uvicorn's
    handshakes            reads plain handshakes, without a parser
    door                  answers plain handshakes of our routes, before uvicorn and the application
    stream_door           answers plain requests for our event streams, before the application
    upgrades              what is wrong with a handshake before any WebSocket library looks at it
    incoming              what comes in on it: frames become messages, within the bounds of the connection
    deflate               permessage-deflate: what is agreed on, and compressed messages that come in
    intake                a client's messages are worked on where they come in, without a task
    keep_alive            pings for all connections, by one timer
    http_protocol         uvicorn's HTTP protocol class: one request at a time
    acceptor              accepts connections: a few per turn, and within the descriptors
    places                the number of connections that an address may have and open
    addresses             how a peer is named
    refusals              answers, counts and logs what is refused before any application is asked
    request_cutter        cuts what a peer sends where its requests end
    limits                all bounds and rates of what a peer may send, and the budget of one connection
    fair_share            connections with more to parse than one turn allows take turns
    pacing                when reading pauses and goes on, and how long a message may take
    deadlines             the timers of an HTTP connection's head, body and answer; `limits` has their seconds
    connect               a Starlette WebSocket becomes a client
    event_stream          a response of an application becomes a client: Server-Sent Events
    passage               whether a response's bytes reach the server as they were sent: then its connection may leave
    leased_transport      a transport that ends the lease before it is taken away
    asgi                  the fallback over plain ASGI
    inbox                 a client's messages that its endpoint has not read
    proxies               the proxies whose `X-Forwarded-For` is believed
    frames                cuts what a peer sends into WebSocket frames
    server                uvicorn's server: acceptors, drain
    collector             the garbage collector, kept away from the sweeps
    listeners             the listening socket: of an address, a path or a descriptor
    sockets               socket options
    sweep_writer          chooses the system call of the sweeps (`broadcaster.sweep`), by a probe of the kernel
    uring                 the ring: one system call for a wave (io_uring)

Where the protocol classes are in use, sweeps write straight to the sockets; elsewhere clients are served over ASGI.
"""
