"""Planted changes by somebody who has not made the gates, which the exact gate has to catch."""

from __future__ import annotations

from .careless import FUTURE, PUBLISHED
from .faults import CountedFault, Edit

_SINK_MADE = "        self.taken = 0\n"

CARELESS_COUNTED = (
    CountedFault(
        "a deque per connection",
        (
            Edit("transport/socket_sink.py", FUTURE, FUTURE + "\nfrom collections import deque\n"),
            Edit(
                "transport/socket_sink.py",
                _SINK_MADE,
                _SINK_MADE + "        self.recent: deque[float] = deque(maxlen=16)\n",
            ),
            Edit("transport/socket_sink.py", '        "place",\n', '        "place",\n        "recent",\n'),
        ),
        "memory",
        "bytes per event stream",
    ),
    CountedFault(
        "a task per connection",
        (
            Edit(
                "broadcaster/node.py",
                "        client.start()\n",
                "        client.start()\n"
                "        if (loop := asyncio._get_running_loop()) is not None:\n"
                "            self._host.tasks.add(loop.create_task(asyncio.Event().wait()))\n",
            ),
        ),
        "memory",
        "bytes per JSON dialect, 1 channel",
    ),
    CountedFault(
        "a timer per connection",
        (
            Edit(
                "transport/socket_sink.py",
                _SINK_MADE,
                _SINK_MADE + "        around.loop.call_later(3600, self.waits_for_peer)\n",
            ),
        ),
        "memory",
        "bytes per WebSocket",
    ),
    CountedFault(
        "the head of each handshake kept",
        (
            Edit(
                "transport/newcomer.py",
                "        plan, address = found[0], one.address\n",
                "        plan, address = found[0], one.address\n"
                '        vars(self).setdefault("heads", {})[one.newcomer] = data\n',
            ),
        ),
        "memory",
        "bytes per WebSocket",
    ),
    CountedFault(
        "a closure per connection",
        (
            Edit(
                "transport/door.py",
                "        connection.make_receiver = plan.make_receiver\n",
                "        connection.make_receiver = lambda *given: plan.make_receiver(*given)\n",
            ),
        ),
        "memory",
        "bytes per WebSocket",
    ),
    CountedFault(
        "a publication kept as text, too",
        (
            Edit("core/publication.py", '        "_others",\n', '        "_others",\n        "_text",\n'),
            Edit(
                "core/publication.py",
                "        self.key: Final = key\n",
                '        self.key: Final = key\n        self._text = payload.decode(errors="replace")\n',
            ),
        ),
        "memory",
        "bytes per publication of 100 bytes",
    ),
    CountedFault(
        "a write for each publication of a slice",
        (
            Edit(
                "broadcaster/sweep.py",
                "until=until, max_bytes=self._slice_bytes)",
                "until=until, max_bytes=1)",
            ),
        ),
        "calls",
        "bursts: writes",
    ),
    CountedFault(
        "the head of an event stream in a write of its own",
        (
            Edit(
                "transport/stream_door.py",
                '        connection.write(b"".join([_STATUS, *lines, _CHUNKED]))\n',
                '        connection.write(_STATUS)\n        connection.write(b"".join([*lines, _CHUNKED]))\n',
            ),
        ),
        "calls",
        "event-streams: writes",
    ),
    CountedFault(
        "an answer to a handshake in two writes",
        (
            Edit(
                "transport/door.py",
                "        transport.write(_ANSWER % (accept, self._lines, plan.fields))\n",
                "        answer = _ANSWER % (accept, self._lines, plan.fields)\n"
                "        transport.write(answer[:34])\n        transport.write(answer[34:])\n",
            ),
        ),
        "calls",
        "connections: writes",
    ),
    CountedFault(
        "a socket option per answer",
        (
            Edit("transport/socket_sink.py", "import math\n", "import math\nimport socket\n"),
            Edit(
                "transport/socket_sink.py",
                "        if self.open:\n            self.transport.write(data)\n",
                "        if self.open:\n"
                '            sock = self.transport.get_extra_info("socket")\n'
                "            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)\n"
                "            self.transport.write(data)\n",
            ),
        ),
        "calls",
        "ops: calls",
    ),
    CountedFault(
        "a file looked at for each publication",
        (
            Edit("core/hub.py", "import secrets\n", "import os\nimport secrets\n"),
            Edit("core/hub.py", PUBLISHED, '        os.path.exists("/etc/localtime")\n' + PUBLISHED),
        ),
        "calls",
        "posts: calls",
    ),
    CountedFault(
        "what comes in is taken a turn later",
        (
            Edit(
                "transport/websocket_connection.py",
                "        (self.incoming if incoming is None else incoming).feed(data)\n",
                "        self._around.loop.call_soon((self.incoming if incoming is None else incoming).feed, data)\n",
            ),
        ),
        "latency",
        "a text from a socket: turns",
    ),
    CountedFault(
        "catching up by a timer",
        (
            Edit(
                "broadcaster/turns.py",
                "            self._loop.call_soon(self._run)\n",
                "            self._loop.call_later(0.001, self._run)\n",
            ),
        ),
        "latency",
        "catching up: ms",
    ),
    CountedFault(
        "a turn behind each awaited publication",
        (
            Edit(
                "broadcaster/publisher.py",
                "            if publication is not None:\n                return publication\n",
                "            await asyncio.sleep(0)\n"
                "            if publication is not None:\n                return publication\n",
            ),
        ),
        "latency",
        "an awaited publication to nobody: turns",
    ),
    CountedFault(
        "clients that come back get a page at a time",
        (
            Edit(
                "broadcaster/client.py",
                "CATCH_UP_BYTES, AWAITED_BYTES = 65_536,",
                "CATCH_UP_BYTES, AWAITED_BYTES = 4_096,",
            ),
        ),
        "latency",
        "coming back: writes",
    ),
    CountedFault(
        "audits half as often",
        (Edit("broadcaster/audit.py", "AUDIT_SECONDS = 0.25 ", "AUDIT_SECONDS = 0.5 "),),
        "latency",
        "a client over its bounds: ms",
    ),
    CountedFault(
        "audits every 100 ms",
        (Edit("broadcaster/audit.py", "AUDIT_SECONDS = 0.25 ", "AUDIT_SECONDS = 0.1 "),),
        "wakeups",
        "callbacks per idle second, nobody",
    ),
    CountedFault(
        "a poll per connection",
        (
            Edit(
                "transport/socket_sink.py",
                "    def connection_lost(self, exc: Exception | None) -> None:\n",
                "    def _poll(self) -> None:\n"
                "        if self.open:\n            self._around.loop.call_later(1.0, self._poll)\n\n"
                "    def connection_lost(self, exc: Exception | None) -> None:\n",
            ),
            Edit(
                "transport/socket_sink.py", _SINK_MADE, _SINK_MADE + "        around.loop.call_later(1.0, self._poll)\n"
            ),
        ),
        "wakeups",
        "callbacks per idle second, 100 event streams",
    ),
    CountedFault(
        "a buffer of 1 KB per connection",
        (
            Edit("transport/socket_sink.py", _SINK_MADE, _SINK_MADE + "        self.room = bytearray(1024)\n"),
            Edit("transport/socket_sink.py", '        "place",\n', '        "place",\n        "room",\n'),
        ),
        "memory",
        "bytes per event stream",
    ),
    CountedFault(
        "a cycle per connection",
        (
            Edit("transport/socket_sink.py", _SINK_MADE, _SINK_MADE + "        self.me = self\n"),
            Edit("transport/socket_sink.py", '        "place",\n', '        "me",\n        "place",\n'),
        ),
        "memory",
        "left to the collector by 128 WebSockets",
    ),
    CountedFault(
        "an answer in two writes",
        (
            Edit(
                "transport/socket_sink.py",
                "        if self.open:\n            self.transport.write(data)\n",
                "        if self.open:\n            self.transport.write(data[:2])\n"
                "            self.transport.write(data[2:])\n",
            ),
        ),
        "calls",
        "ops: writes",
    ),
)
