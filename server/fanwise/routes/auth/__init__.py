"""Access: the key of publishers and operators, hosts, and origins of pages.

    guards   `Access`: key, hosts and origins in one check; and the dependencies of routes that ask it
    keys     the key
    origins  which pages may connect
    hosts    which hosts the server answers for

Routes and handshakes ask this room; it knows none of them.
"""
