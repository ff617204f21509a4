"""`python FILE ... --worker PLACE`: a worker that needs no server: each connection is told its process id.

Modes, as the first argument: "works"; "refuses" ends with status 3 at once; "dies" accepts one connection and fails;
"mute" gives no sign of life after the first; "late" is never ready.
"""

from __future__ import annotations

import os
import select
import socket
import sys

_BEAT_SECONDS = 0.05


def main(mode: str, place: str) -> int:
    if mode == "refuses":
        return 3
    _, listener_at, control_at = place.split(":")
    listener, control = socket.socket(fileno=int(listener_at)), socket.socket(fileno=int(control_at))
    listener.setblocking(False)
    listener.listen(64)
    if mode != "late":
        control.send(b"r")
    while True:
        found, _, _ = select.select([control] if mode == "late" else [control, listener], [], [], _BEAT_SECONDS)
        if mode == "works":
            control.send(b".")
        if control in found:
            return 0
        if listener in found:
            try:
                connection, _ = listener.accept()
            except OSError:  # another worker was quicker
                continue
            with connection:
                connection.send(b"%d" % os.getpid())
            if mode == "dies":
                return 7


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[-1]))
