"""What may stand in a line of the log: no secret, and no character that a terminal or a reader of lines would obey."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from urllib.parse import quote

# Where uvicorn and websockets log what happens to each connection: apart from the rest, as there may be 10,000 of them.
CONNECTION_LOGGER = "uvicorn.error.websocket"
_READ_CHARACTERS = 65_536  # more of a text is not even looked at
_DOUBLINGS = 3  # of a backslash: an error within an error within an error doubles it so often
_ESCAPED = "\"'/"  # what may have a backslash before it, in Python or in JSON
# As they are in URLs, beside letters, digits and -._~: who writes them has habits.
_KEPT_IN_URLS = ("", "/", "!'()*", "/:@!$&'()*+,;=")
# C0, DEL, C1; marks of direction, which reorder a line; line and paragraph separators; halves of a character.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# Each reads a text once, from left to right, whatever is in it.
_SECRETS = (
    (re.compile(r"(?<=\S)\?[^\s\"']+"), "?***"),  # a query string
    (re.compile(r"(fanwise\.key\.)[\w=-]+"), r"\1***"),  # `access.KEY_SUBPROTOCOL`
    (re.compile(r"(?i)\b(bearer )\S+"), r"\1***"),
    (re.compile(r"(?i)\b(authorization|x-api-key|cookie)\b(\W{1,5})\S.*"), r"\1\2***"),
)


class Scrubber:
    """Makes texts fit for a line.

    Args:
        secrets: What must not appear, whoever logs it and however it is written: in errors, in JSON, in a URL.
    """

    def __init__(self, secrets: Collection[str] = ()) -> None:
        forms = {form for secret in secrets for form in (secret, *(quote(secret, kept) for kept in _KEPT_IN_URLS))}
        longest_first = sorted(forms - {""}, key=len, reverse=True)
        self._secrets = tuple(map(written, longest_first))

    def clean(self, text: str, max_characters: int) -> str:
        """`text` without secrets, escaped, and cut where it is longer."""
        text = escape(self.hide(text[:_READ_CHARACTERS]))
        return text if len(text) <= max_characters else text[:max_characters] + "..."

    def clean_lines(self, text: str, max_characters: int) -> list[str]:
        """The same for a text of several lines, of which the end counts: the last line of a traceback is the error."""
        text = self.hide(text[-_READ_CHARACTERS:]).strip("\n")[-max_characters:]
        return [escape(line) for line in text.split("\n") if line]

    def hide(self, text: str) -> str:
        """`text` without the secrets, and without what looks like one: query strings, keys, headers that carry one."""
        for secret in self._secrets:
            text = secret.sub("***", text)
        for pattern, shown in _SECRETS:
            text = pattern.sub(shown, text)
        return text


def written(secret: str) -> re.Pattern[str]:
    """Finds a text as it is, and as Python or JSON quote it, also again and again. Each look takes bounded time."""
    pattern = ""
    for backslashes, character in re.findall(r"(\\*)([^\\]|$)", secret):
        count = len(backslashes)
        most = (count << _DOUBLINGS) + ((1 << _DOUBLINGS) - 1 if character and character in _ESCAPED else 0)
        pattern += (rf"\\{{{count},{most}}}" if most else "") + re.escape(character)
    return re.compile(pattern)


def escape(text: str) -> str:
    r"""Each character that is not to be printed as it is becomes \xNN or \uNNNN: what is left is one line."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def hide_query_string(record: logging.LogRecord) -> bool:
    """A logging filter: uvicorn logs each WebSocket's URL, and a query string may carry a token."""
    if isinstance(record.args, tuple) and "WebSocket %s" in str(record.msg):
        record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
    return True
