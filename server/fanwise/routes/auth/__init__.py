"""Who may publish and operate, and which pages may connect.

    guards   `Access`, and the dependencies of routes that ask it
    keys     the key
    origins  which pages may connect

Routes and handshakes ask this room; it knows none of them.
"""
