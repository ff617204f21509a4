"""`fanwise bench`: a load generator for WebSocket broadcast servers. The room knows the wire alone.

    session  one call of `fanwise bench`: which servers, which plans, which output
    options  the options of a call, checked
    errors   what `fanwise bench` raises

The rooms inside, from the top; imports only point down: output, run, load.

Reading is cheap because all clients of a channel get equal bytes. The first client to receive them parses and checks
them. One comparison of memory per `recv` then proves order, completeness and content for every other client
(`load.stream`). A client with other bytes (a hole, a ping) is parsed message by message until it is back on the stream.
"""
