"""`fanwise bench`: a load generator for WebSocket broadcast servers. It knows the wire, and nothing of the server.

    session  one call of `fanwise bench`: which servers, which plans, which output
    options  the options of a call, checked
    errors   what `fanwise bench` raises

The rooms inside, from the top; imports only point down: output, run, load.

How it is cheap: all clients of a channel get the same bytes. The first one parses and checks them, and from then on one
comparison of memory per `recv` proves order, completeness and content for everybody else (`load.stream`). Where that
fails (a hole, a ping, a message in another place), the client is parsed message by message until it is back on the
stream.
"""
