"""Programs that look at a server from outside. Of the server they import only `errors`.

    remote    a server's answers over HTTP
    deadline  reading until a moment, however a server drips
    local_server  a server as a process of our own, while somebody looks at it
    rates     local_server  a server as a process of our own, while somebody looks at it
    rates and percentiles from two documents of /stats
    humanize  numbers for people

Rooms with maps of their own: bench, doctor, top, and load, which several of them share.
"""
