"""Who may publish and operate, and which pages may connect.

    access  `Access`: the key, and the origins that may connect

It is asked by routes and handshakes, and knows none of them.
"""
