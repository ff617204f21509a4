"""Texts for a line of the log: without secrets, and without characters that a terminal or a line reader obeys."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection

# Where uvicorn and websockets log what happens to each connection: apart from the rest, as there may be 10,000 of them.
CONNECTION_LOGGER = "uvicorn.error.websocket"
_REFUSAL = "\nfanwise.errors.SettingsError: "
_READ_CHARACTERS = 65_536  # the rest of a longer text is dropped
# C0, DEL, C1; marks of direction, which reorder a line; line and paragraph separators; halves of a character.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# Each pattern reads any text once, from left to right.
_SECRETS = (
    (re.compile(r"(?<=\S)\?[^\s\"']+"), "?***"),  # a query string
    (re.compile(r"(fanwise\.(?:key|token)\.)[\w=.-]+"), r"\1***"),  # subprotocols that carry keys and tokens
    (re.compile(r"(?<![\w-])eyJ[\w-]*+\.[\w-]++\.[\w-]*+"), "***"),  # a JSON Web Token, whose head begins with {"
    (re.compile(r"(?i)\b(bearer )\S+"), r"\1***"),
    (re.compile(r"(?i)\b(authorization|x-api-key|cookie)\b(\W{1,5})\S.*"), r"\1\2***"),
)


class Scrubber:
    """Makes texts fit for a line.

    Args:
        secrets: Keys (RFC 6750 section 2.1: letters, digits, -._~+/ and =) that must not appear, escaped or not.
    """

    def __init__(self, secrets: Collection[str] = ()) -> None:
        self._secrets = [written(secret) for secret in sorted(secrets, key=len, reverse=True) if secret]

    def clean(self, text: str, max_characters: int) -> str:
        """Returns `text` without secrets, escaped, and cut to `max_characters`."""
        text = escape(self.hide(text[:_READ_CHARACTERS]))
        return text if len(text) <= max_characters else text[:max_characters] + "..."

    def clean_lines(self, text: str, max_characters: int) -> list[str]:
        """Returns the lines of `text`, cleaned; keeps the end, since the last line of a traceback is the error."""
        text = self.hide(text[-_READ_CHARACTERS:]).strip("\n")[-max_characters:]
        return [escape(line) for line in text.split("\n") if line]

    def hide(self, text: str) -> str:
        """Returns `text` without the secrets, and without query strings, keys and headers that carry keys."""
        for secret in self._secrets:
            text = secret.sub("***", text)
        for pattern, shown in _SECRETS:
            text = pattern.sub(shown, text)
        return text


def written(secret: str) -> re.Pattern[str]:
    r"""Returns a pattern that finds a key as it is, in a URL, and in JSON that writes \/, also in JSON in JSON."""
    characters = (rf"(?:{re.escape(character)}|(?i:%{ord(character):02x}))" for character in secret)
    return re.compile("".join(characters).replace("(?:/", r"(?:\\{0,7}/"))


def escape(text: str) -> str:
    r"""Returns one line: each unprintable character becomes \xNN or \uNNNN."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def shorten_refusal(record: logging.LogRecord) -> bool:
    """A logging filter: settings that an engine refuses at the start are a line, as others are, and no traceback."""
    if isinstance(record.msg, str) and record.msg.startswith("Traceback ") and _REFUSAL in record.msg:
        record.msg = record.msg.rpartition(_REFUSAL)[2].strip()
    return True


def hide_query_string(record: logging.LogRecord) -> bool:
    """A logging filter: uvicorn logs each WebSocket's URL, and a query string may carry a token."""
    if isinstance(record.args, tuple) and "WebSocket %s" in str(record.msg):
        record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
    return True
