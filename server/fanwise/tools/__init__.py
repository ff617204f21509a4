"""Programs that look at a server from outside. Of the server they import only `errors`.

    remote         a server's answers, as JSON
    http_exchange  a request and its answer, bounded in bytes and in time
    local_server   a server as a process of our own
    rates          rates and percentiles from two documents of /stats
    humanize       numbers for people
    toml_file      a file of TOML, and what is wrong with its keys

Rooms with maps of their own: bench, doctor, top, and load, which several of them share.
"""
