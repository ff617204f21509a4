"""Planted changes by somebody who has not made the gates: what careless commits do.

Each names the gate that catches it, as those of `faults` do.
"""

from __future__ import annotations

from .faults import Edit, Fault

FUTURE = "from __future__ import annotations\n"
PUBLISHED = "        self.tally.publications += 1\n        publication = channel.log.append("
_GROWN = "        self._grown[channel] = None\n        if publication.offset % _SETTLE_EVERY == 0:"
_WORKED_ON = "                waits = self._work(kind, data)\n"

CARELESS = (
    Fault(
        "a payload copied into its frame",
        (
            Edit(
                "core/encoding.py",
                "    size = len(payload)\n    if size <= _ONE_BYTE:\n",
                "    payload = bytes(bytearray(payload))\n    size = len(payload)\n    if size <= _ONE_BYTE:\n",
            ),
        ),
        "encode-plain",
    ),
    Fault(
        "lines of an event joined as text",
        (
            Edit(
                "core/encoding.py",
                'b"".join([b"data: %b\\n" % line for line in _LINE_END.split(data)])',
                '"".join(f"data: {line.decode()}\\n" for line in _LINE_END.split(data)).encode()',
            ),
        ),
        "encode-sse",
    ),
    Fault(
        "frames copied once more on their way in",
        (
            Edit(
                "transport/frames.py",
                "frames.append((head, apply_mask(stream[at:end], stream[at - 4 : at])))",
                "frames.append((head, bytes(bytearray(apply_mask(stream[at:end], stream[at - 4 : at])))))",
            ),
        ),
        "intake",
    ),
    Fault(
        "an operation parsed twice",
        (
            Edit(
                "routes/json_models.py",
                "        fields = orjson.loads(data)\n",
                "        fields = orjson.loads(data) and orjson.loads(data)\n",
            ),
        ),
        "json-publish",
    ),
    Fault(
        "a log copied for each read",
        (
            Edit(
                "core/log.py",
                "        return self._publications[start :",
                "        return list(self._publications)[start :",
            ),
        ),
        "resume",
    ),
    Fault(
        "an accept value made twice",
        (
            Edit(
                "transport/newcomer.py",
                "accept = None if found is None else accept_value(found[1])",
                "accept = None if found is None else accept_value(found[1]) and accept_value(found[1])",
            ),
        ),
        "handshake",
    ),
    Fault(
        "a client's bytes added up at each audit",
        (
            Edit(
                "broadcaster/audit.py",
                "        self._hub.tally.lag.observe(watch.lag)\n",
                "        self._hub.tally.lag.observe(watch.lag + 0 * client.lag_bytes)\n",
            ),
        ),
        "audit",
    ),
    Fault(
        "a channel's name checked at each publication",
        (
            Edit(
                "core/hub.py",
                "return self._channels.get(name) or self._open(check_channel_name(name), time)",
                "return self._channels.get(check_channel_name(name)) or self._open(name, time)",
            ),
        ),
        "publish",
    ),
    Fault(
        "a text for the log formatted and thrown away",
        (
            Edit(
                "core/hub.py",
                "        self._grown[channel] = None\n        if publication.offset % _SETTLE_EVERY == 0:",
                '        f"{publication!r} goes to {len(channel.queues)} clients"\n'
                "        self._grown[channel] = None\n        if publication.offset % _SETTLE_EVERY == 0:",
            ),
        ),
        "publish",
    ),
    Fault(
        "a lock around the log",
        (
            Edit("core/log.py", FUTURE, FUTURE + "\nimport threading\n"),
            Edit("core/log.py", "\n\nclass Log:", "\n\n_LOCK = threading.Lock()\n\n\nclass Log:"),
            Edit(
                "core/log.py",
                "        self.head = head = self.head + 1\n",
                "        with _LOCK:\n            self.head = head = self.head + 1\n",
            ),
        ),
        "append",
    ),
    Fault(
        "a garbage collection per sweep",
        (
            Edit("broadcaster/sweep.py", "import asyncio\nimport math", "import asyncio\nimport gc\nimport math"),
            Edit(
                "broadcaster/sweep.py",
                "        self._scheduled = False\n        begin = self._clock()\n",
                "        self._scheduled = False\n        gc.collect(0)\n        begin = self._clock()\n",
            ),
        ),
        "publish-and-turn",
    ),
    Fault(
        "settings copied for each publication",
        (
            Edit("broadcaster/node.py", "import concurrent.futures\n", "import concurrent.futures\nimport copy\n"),
            Edit(
                "broadcaster/node.py",
                "        publication = self._publisher.append_nowait(",
                "        copy.deepcopy(self.inspect.limits())\n        publication = self._publisher.append_nowait(",
            ),
        ),
        "publish-and-turn",
    ),
    Fault(
        "all channels counted at each publication",
        (
            Edit(
                "core/hub.py",
                PUBLISHED,
                "        sum(bool(one.queues) for one in self)\n" + PUBLISHED,
            ),
        ),
        "many-channels",
    ),
    Fault(
        "all logs trimmed at each audit",
        (
            Edit(
                "core/retention.py",
                "        for channel in list(self.grown):\n",
                "        for channel in list(self._channels.values()):\n",
            ),
            Edit(
                "core/retention.py",
                "                del self.grown[channel]\n",
                "                self.grown.pop(channel, None)\n",
            ),
        ),
        "many-channels",
    ),
    Fault(
        "a linear search when a client goes",
        (
            Edit(
                "broadcaster/registry.py",
                "        elif self.clients.pop(client.id, None) is not None:",
                "        elif client in list(self.clients.values()) and self.clients.pop(client.id, None) is not None:",
            ),
        ),
        "handshake",
    ),
    Fault(
        "a linear search when a client comes",
        (
            Edit(
                "core/hub.py",
                "        channel.queues[queue] = None\n",
                "        if queue not in list(channel.queues):\n            channel.queues[queue] = None\n",
            ),
        ),
        "stream-request",
    ),
    Fault(
        "compression made twice",
        (
            Edit(
                "core/deflate.py",
                "            compressed = self._compress(message) if len(message) <= AT_MOST_BYTES else None\n",
                "            compressed = self._compress(message) and self._compress(message)\n",
            ),
        ),
        "sweep-json-1k-deflated",
    ),
    Fault(
        "a counter with a label for each slice",
        (
            Edit(
                "broadcaster/sweep.py",
                "        tally.deliveries += given\n",
                '        vars(self).setdefault("labels", {})[f"deliveries{{channel={channel.name}}}"] = given\n'
                "        tally.deliveries += given\n",
            ),
        ),
        "sweep-1-to-1",
    ),
    Fault(
        "the time taken for each client of a sweep",
        (
            Edit(
                "broadcaster/sweep.py",
                "            taken = write(fd, data)",
                "            time.monotonic()\n            taken = write(fd, data)",
            ),
        ),
        "sweep-1-to-1000",
    ),
    Fault(
        "bytes copied for clients that catch up",
        (
            Edit(
                "broadcaster/outbox.py",
                "        self.direct.write(data)\n        _count(",
                "        self.direct.write(bytes(bytearray(data)))\n        _count(",
            ),
        ),
        "short-write",
    ),
    Fault(
        "a request's fields made a dict twice",
        (
            Edit(
                "routes/publish.py",
                '        kind, data = body_data(body, request.headers.get("content-type", ""))\n',
                "        kind, data = body_data(body, {**dict(request.headers), **dict(request.headers)}"
                '.get("content-type", ""))\n',
            ),
        ),
        "http-publish",
    ),
    Fault(
        "history read as text",
        (
            Edit(
                "routes/channels.py",
                'yield (b"," if sent else b"") + orjson.dumps(message_fields(publication))',
                'yield (b"," if sent else b"") + json.dumps(message_fields(publication)).encode()',
            ),
            Edit("routes/channels.py", FUTURE, FUTURE + "\nimport json\n"),
        ),
        "http-history",
    ),
    Fault(
        "clients sorted for statistics",
        (
            Edit(
                "broadcaster/inspector.py",
                "        return map(self.client, self._registry)\n",
                "        return map(self.client, sorted(self._registry, key=lambda one: (one.lag, one.id)))\n",
            ),
        ),
        "statistics",
    ),
    Fault(
        "reading paused for each message",
        (
            Edit(
                "transport/intake.py",
                _WORKED_ON,
                "                self._transport.pause_reading()\n"
                + _WORKED_ON
                + "                self._transport.resume_reading()\n",
            ),
        ),
        "intake-to-log",
    ),
    Fault(
        "a sweep by a timer of no seconds",
        (
            Edit(
                "broadcaster/sweep.py",
                "                self._loop.call_soon(self._run)\n\n    def is_due",
                "                self._loop.call_later(0, self._run)\n\n    def is_due",
            ),
        ),
        "publish-and-turn",
    ),
    Fault(
        "a dict per publication",
        (
            Edit(
                "core/hub.py",
                _GROWN,
                "        dict(channel=channel.name, offset=publication.offset, size=len(publication.payload))\n"
                + _GROWN,
            ),
        ),
        "publish",
    ),
    Fault(
        "heads of handshakes that are not remembered",
        (
            Edit(
                "transport/newcomer.py",
                "        plan = None if parts is None else self._plans.get(parts[0])\n",
                "        plan = None\n",
            ),
        ),
        "handshake",
    ),
    Fault(
        "a round trip through JSON",
        (
            Edit(
                "routes/json_models.py",
                "        fields = orjson.loads(data)\n",
                "        fields = orjson.loads(orjson.dumps(orjson.loads(data)))\n",
            ),
        ),
        "json-publish",
    ),
)
