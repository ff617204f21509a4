from __future__ import annotations

import base64
import io
import json
import logging
import logging.config
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from fanwise.broadcaster.node import Node
from fanwise.logs.events import CODES, Event, log
from fanwise.logs.formatting import JsonFormatter, LineFormatter, TextFormatter, log_config, take_over
from fanwise.logs.limiter import make_limiter
from fanwise.logs.scrubbing import CONNECTION_LOGGER
from fanwise.routes.auth.keys import KEY_SUBPROTOCOL

from ..support.live import until
from ..support.loggers import loggers_as_they_were
from ..support.processes import ServerProcess

KEY, WRONG_KEY = "correct-horse-battery", "incorrect-zebra-staple"
FORMATS = ["text", "json"]
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def record(message: str = "hello %s", *args: object, name: str = "uvicorn.error", **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.WARNING, __file__, 1, message, args, extra.pop("exc_info", None))
    made.created = 1763800000.25
    vars(made).update(extra)
    return made


def event(**fields: object) -> logging.LogRecord:
    """A record as `log` makes it."""
    made = record(Event.CLIENT_DROPPED.sentence, name="fanwise", code="client_dropped", **fields)
    made.args = fields
    return made


DROPPED: dict[str, object] = {
    "client": "c1",
    "address": "1.2.3.4:5",
    "reason": "slow",
    "lag": 7,
    "lag_bytes": 800,
    "behind_seconds": 2.5,
    "channels": 3,
}
SENTENCE = "client c1 at 1.2.3.4:5 was dropped, slow: it was 7 publications, 800 bytes and 2.5 s behind on 3 channels"


def raised(error: Exception) -> Any:
    try:
        raise error
    except type(error):
        return sys.exc_info()


def test_text() -> None:
    """The time in UTC, the level, the code, the sentence; of another library its name."""
    assert TextFormatter().format(event(**DROPPED)) == f"2025-11-22T08:26:40.250Z WARNING  client_dropped: {SENTENCE}"
    assert TextFormatter().format(record("hello %s", "you")) == "2025-11-22T08:26:40.250Z WARNING  uvicorn: hello you"


def test_lines_of_several_processes() -> None:
    """Each has the id of its own."""
    made = record("hello", process=4711)
    assert TextFormatter(pid=True).format(made).endswith("uvicorn: hello [4711]")
    assert json.loads(JsonFormatter(pid=True).format(made))["process"] == 4711
    assert "process" not in json.loads(JsonFormatter().format(made))


def test_json() -> None:
    """One object: the same, the fields of the event, and for other libraries the logger."""
    line = JsonFormatter().format(event(**DROPPED))
    assert json.loads(line) == {
        "time": "2025-11-22T08:26:40.250Z",
        "level": "warning",
        "logger": "fanwise",
        "code": "client_dropped",
        "message": SENTENCE,
        **DROPPED,
    }
    assert json.loads(JsonFormatter().format(record("hello %s", "you", code="slow", lag=1))) == {
        "time": "2025-11-22T08:26:40.250Z",
        "level": "warning",
        "logger": "uvicorn.error",
        "code": "library",
        "message": "hello you",
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (0.12345678, 0.123457),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        ("x" * 600, "x" * 500 + "..."),
        ("\x1b[2J\ud800", "\\x1b[2J\\ud800"),
        (["a\n"], "['a\\n']"),
    ],
    ids=repr,
)
def test_values_are_what_json_has(value: object, shown: object) -> None:
    """Numbers stay numbers; all else is text that is fit for a line."""
    line = JsonFormatter().format(event(**{**DROPPED, "lag": 0, "address": value}))
    assert json.loads(line)["address"] == shown


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_what_was_left_out_is_told(formatter: LineFormatter) -> None:
    """Before this line, and perhaps after it."""
    line = formatter.format(event(**DROPPED, suppressed=1234, limited=True))
    if isinstance(formatter, JsonFormatter):
        assert {name: json.loads(line)[name] for name in ("suppressed", "limited")} == {
            "suppressed": 1234,
            "limited": True,
        }
    else:
        assert line.endswith(" [1234 like this were left out before] [more like this may be left out]")


HOSTILE = "a\r\n2026-01-01T00:00:00.000Z INFO     started: forged\x1b[2J\u2028\u202e\x00"


@pytest.mark.parametrize("place", ["field", "argument", "message", "error", "name", "level"])
@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=FORMATS)
def test_nobody_can_forge_a_line(formatter: LineFormatter, place: str) -> None:
    """Whatever is in a value, in a library's message or in an error: what begins at the margin is one event."""
    made = {
        "field": lambda: event(**{**DROPPED, "address": HOSTILE}),
        "argument": lambda: record("hello %s", HOSTILE),
        "message": lambda: record(HOSTILE),
        "error": lambda: record("failed", exc_info=raised(ValueError(HOSTILE))),
        "name": lambda: record("hello", name=HOSTILE),
        "level": lambda: record("hello", levelname="\x1bDEBUG"),
    }[place]()
    text = formatter.format(made)
    first, *rest = text.split("\n")
    assert all(line.startswith("    ") for line in rest)
    assert not rest or isinstance(formatter, TextFormatter)
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", text) is None
    if isinstance(formatter, JsonFormatter):
        assert "forged" not in json.loads(first).get("time", "")
    else:
        assert re.match(rf"{TIME} ", first)


def test_a_traceback_follows() -> None:
    """In text as indented lines, in JSON as a field; the end of a long one."""
    info = raised(ValueError("no\n" * 5000 + "last"))
    text = TextFormatter().format(record("failed", exc_info=info)).split("\n")
    assert text[-1] == "    last"
    assert len(text) < 4000
    found = json.loads(JsonFormatter().format(record("failed", exc_info=raised(ValueError("no")))))
    assert found["traceback"].splitlines()[0] == "Traceback (most recent call last):"
    assert found["traceback"].splitlines()[-1] == "ValueError: no"


def test_a_library_may_say_more_than_a_line() -> None:
    """As uvicorn does: the traceback of an application that does not start is its message."""
    message = "Traceback (most recent call last):\n  File\nValueError: no\n"
    assert TextFormatter().format(record(message)).split("\n")[1:] == ["      File", "    ValueError: no"]
    assert json.loads(JsonFormatter().format(record(message)))["traceback"] == "  File\nValueError: no"


def test_a_message_that_cannot_be_written_is_written() -> None:
    """A library's mistake must not put logging's own lines between ours."""
    line = json.loads(JsonFormatter().format(record("%d", "x")))
    assert line["message"].startswith("'%d' does not go with its arguments: TypeError")


@pytest.fixture
def _logging_as_it_was() -> Iterator[None]:
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    with loggers_as_they_were():
        yield
    logging.captureWarnings(capture=False)
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.usefixtures("_logging_as_it_was")
@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["fanwise", "uvicorn.error", CONNECTION_LOGGER]),
        ("info", ["fanwise", "uvicorn.error"]),
        ("warning", []),
    ],
)
def test_who_is_heard(capsys: pytest.CaptureFixture[str], level: str, heard: list[str]) -> None:
    """Information comes from us and from uvicorn; what becomes of each connection only when it is asked for.

    Also where uvicorn's own configuration has come before.
    """
    logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
    logging.config.dictConfig(log_config(level, "json"))
    names = ["fanwise", "uvicorn.error", CONNECTION_LOGGER, "uvicorn.access", "websockets.client", "asyncio", "other"]
    for name in names:
        logging.getLogger(name).info("info")
        logging.getLogger(name).debug("debug")
    found = [line["logger"] for line in lines(capsys.readouterr().err) if line["message"] == "info"]
    assert found == heard
    for name in names:
        logging.getLogger(name).error("error")
    assert [line["logger"] for line in lines(capsys.readouterr().err)] == names


@pytest.mark.usefixtures("_logging_as_it_was")
def test_python_has_no_lines_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings and exceptions that nobody caught are events too."""
    logging.config.dictConfig(log_config("info", "json"))
    take_over()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        take_over()
        warnings.warn("careful", UserWarning, stacklevel=1)
    sys.excepthook(*raised(ValueError("main")))
    thread = threading.Thread(target=list[int]().pop)
    thread.start()
    thread.join()

    class Reluctant:
        def __del__(self) -> None:
            raise ValueError("finaliser")

    Reluctant()
    found = lines(capsys.readouterr().err)
    assert [line["code"] for line in found] == ["library", "uncaught", "uncaught", "uncaught"]
    assert "careful" in found[0]["message"]
    assert [line["error"] for line in found[1:]] == [
        "ValueError('main')",
        "IndexError('pop from empty list')",
        "ValueError('finaliser')",
    ]
    assert all("traceback" in line for line in found[1:])


def test_a_server_has_no_lines_but_events(server_process: Callable[..., ServerProcess]) -> None:
    """What Python would print is an event there too."""
    server = server_process("-m", "tests.support.warns", "serve", "--port", "{port}", FANWISE_LOG_FORMAT="json")
    server.wait_for_log("takes clients")
    assert [line["logger"] for line in lines(server.log) if "careful" in line["message"]] == ["py.warnings"]


@pytest.mark.usefixtures("_logging_as_it_was")
def test_a_secret_is_hidden_wherever_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Also in an error, and one that looks like an address of logging's own."""
    for log_format in ("text", "json"):
        logging.config.dictConfig(log_config("info", log_format, secrets=["ext://sys.stderr", KEY]))
        log(Event.WRITER_DIED, client=f"{KEY} ext://sys.stderr", error=raised(ValueError(KEY))[1])
    heard = capsys.readouterr().err
    assert heard.count("writer of client *** *** died: ValueError('***')") == 2
    assert KEY not in heard
    assert "ext:" not in heard


def serve(server_process: Callable[..., ServerProcess], log_format: str, *args: str, **environ: str) -> ServerProcess:
    command = ["-m", "fanwise", "serve", "--port", "{port}", *args]
    server = server_process(*command, FANWISE_LOG_FORMAT=log_format, **environ)
    server.wait_for_log("takes clients")
    return server


@pytest.mark.parametrize("log_format", FORMATS)
def test_the_life_of_a_server(server_process: Callable[..., ServerProcess], log_format: str) -> None:
    """Every line of JSON is an object with a code of the table; in text a line is an event, the banner or indented."""
    server = serve(server_process, log_format, "--queue-messages", "77")
    with connect(server.url("/ws")) as client:
        client.send("hello")
        assert client.recv() == "Message: hello"
        server.exchange(b"nonsense\r\n\r\n")
    assert server.stop() == 0
    if log_format == "text":
        banner, events = server.log.partition("fast path  yes, ")[::2]
        events = events.partition("\n")[2]
        assert "77 messages" in banner
        assert [line for line in events.splitlines() if not re.match(rf"{TIME} [A-Z]+ +[a-z_]+: \S|    ", line)] == []
        codes = re.findall(rf"^{TIME} [A-Z]+ +([a-z_]+):", events, re.MULTILINE)
        assert {code for code in codes if code != "uvicorn"} <= set(CODES)
    else:
        found = lines(server.log)
        assert {line["code"] for line in found} <= set(CODES)
        assert {line["level"] for line in found} <= {"info", "warning"}
        (started,) = [line for line in found if line["code"] == "started"]
        assert {name: started[name] for name in ("url", "queue_messages", "publishing", "fast_path")} == {
            "url": f"http://127.0.0.1:{server.port}",
            "queue_messages": 77,
            "publishing": "open",
            "fast_path": True,
        }
        codes = [line["code"] for line in found]
    ours = [code for code in codes if code not in ("library", "uvicorn")]
    assert ours == ["started", "refused", "stopping", "stopped"]


PLAIN = ["-m", "uvicorn", "fanwise.app:app", "--port", "{port}", "--no-access-log", "--log-level", "debug", "--ws"]


@pytest.mark.parametrize("log_format", [*FORMATS, "uvicorn"])
@pytest.mark.parametrize("key", [KEY, WRONG_KEY])
def test_no_key_reaches_the_log(server_process: Callable[..., ServerProcess], log_format: str, key: str) -> None:
    """Wherever a client puts it: in the URL, in headers, in a subprotocol, also where it breaks the handshake.

    Under plain uvicorn with our protocol class too, where its own access log is off: nobody scrubs its lines there.
    """
    if log_format == "uvicorn":
        server = server_process(*PLAIN, "fanwise.protocol:FanwiseProtocol", FANWISE_API_KEY=KEY)
        server.wait_for_log("Application startup complete")
    else:
        server = serve(server_process, log_format, "--log-level", "debug", FANWISE_API_KEY=KEY)
    encoded = base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")
    subprotocols = [Subprotocol("fanwise.v1"), Subprotocol(KEY_SUBPROTOCOL + encoded)]
    ways: list[dict[str, Any]] = [
        {},
        {"subprotocols": subprotocols},
        {"subprotocols": subprotocols[1:]},
        {"additional_headers": {"Authorization": f"Bearer {key}"}},
        {"additional_headers": {"X-API-Key": key, "Cookie": f"key={key}"}},
    ]
    if key == KEY:  # the origin of a refused page is logged, for its author to see; browsers put no key there
        ways.append({"additional_headers": {"Origin": f"http://{key}.example"}})
    for way in ways:
        with suppress(InvalidStatus), connect(server.url(f"/ws?token={key}"), **way) as client:
            client.send(key)
    upgrade = f"GET /ws?token={key} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-API-Key: {key}"
    for head in (
        f"GET /sse/no%20good?key={key} HTTP/1.1\r\nAuthorization: Bearer {key}",
        f"GET /clients?api_key={key} HTTP/1.1\r\nX-API-Key: {key}",
        f"POST /publish/a?key={key} HTTP/1.1\r\nAuthorization: Basic {encoded}\r\nContent-Length: 0",
        upgrade,
        f"{upgrade}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {encoded}",
        f"{upgrade}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {KEY_SUBPROTOCOL}{encoded},=;",
        f"NO {key}\x1b SUCH/1.1\r\nX-API-Key: {key}",
    ):
        server.exchange(f"{head}\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    assert server.stop() in (0, -15)  # uvicorn raises the signal again when it has stopped
    assert key not in server.log
    assert encoded not in server.log
    assert "[accepted]" in server.log, "at this level connections are logged"
    assert "\x1b" not in server.log


@pytest.mark.parametrize("log_format", FORMATS)
def test_there_is_nothing_per_message(server_process: Callable[..., ServerProcess], log_format: str) -> None:
    """At no level."""
    server = serve(server_process, log_format, "--log-level", "debug")
    with connect(server.url("/ws")) as client:
        client.send("first")
        client.recv()
        before = server.log
        for number in range(100):
            client.send(f"{number}")
            assert client.recv() == f"Message: {number}"
        assert server.log == before


def come_and_go(server: ServerProcess, count: int) -> None:
    for _ in range(count):
        with connect(server.url("/ws")) as client:
            client.send("hello")
            client.recv()


def test_there_is_nothing_per_connection(server_process: Callable[..., ServerProcess]) -> None:
    """Ten thousand come and go, and the log stays readable."""
    server = serve(server_process, "json")
    before = server.log
    come_and_go(server, 50)
    assert server.log == before


def test_every_line_is_written_or_counted(server_process: Callable[..., ServerProcess]) -> None:
    """Who asks for the level debug gets some of what becomes of connections, and the number of the rest."""
    server = serve(server_process, "json", "--log-level", "debug")
    come_and_go(server, 50)
    assert server.stop() == 0
    found = lines(server.log)
    heard = [line for line in found if line["logger"] == CONNECTION_LOGGER and line["level"] == "info"]
    (rest,) = [
        line["lines"] for line in found if line["code"] == "left_out" and line["kind"] == f"{CONNECTION_LOGGER}: info"
    ]
    assert len(heard) < 50
    assert len(heard) + sum(line.get("suppressed", 0) for line in heard) + rest == 50  # one for each connection


def test_an_application_that_is_not_ours_has_the_same(server_process: Callable[..., ServerProcess]) -> None:
    """With nothing but what the documents say: every line is written or counted, and Python has none of its own."""
    server = server_process("-m", "tests.support.other_application", "{port}")
    for _ in range(50):
        server.get("/sse/no%20good")
    server.stop()
    found = lines(server.log)
    assert [line["error"] for line in found if line["code"] == "uncaught"] == ["IndexError('pop from empty list')"]
    refused = [line for line in found if line["code"] == "refused"]
    (rest,) = [line["lines"] for line in found if line["code"] == "left_out" and line["kind"] == "refused"]
    assert len(refused) + sum(line.get("suppressed", 0) for line in refused) + rest == 50


@pytest.mark.anyio
@pytest.mark.usefixtures("_logging_as_it_was")
async def test_what_was_left_out_is_told_while_a_broadcaster_runs() -> None:
    """When a flood is over, once, in whatever application; what is left when it stops is told as well."""
    now, written = [1000.0], io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(make_limiter(clock=lambda: now[0]))
    logging.getLogger().addHandler(handler)

    def told() -> list[tuple[str, int]]:
        found = lines(written.getvalue())
        return [(line["kind"], line["lines"]) for line in found if line["code"] == "left_out"]

    for _ in range(100):
        log(Event.SLOW_PATH)
    async with Node() as broadcaster:
        await broadcaster._publisher.audited()
        assert told() == []
        now[0] += 5
        await until(lambda: bool(told()))
        await broadcaster._publisher.audited()
        assert told() == [("slow_path", 80)]
        for _ in range(30):
            log(Event.SLOW_PATH)
    assert told() == [("slow_path", 80), ("slow_path", 28)]
