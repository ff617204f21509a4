from __future__ import annotations

import inspect

import pytest
from starlette.requests import HTTPConnection

from fanwise.core.codes import CodedError, ErrorCode
from fanwise.core.roles import Role
from fanwise.routes.auth.guards import Access, list_guards, operator_guards, publisher_guards


def connection(**headers: str) -> HTTPConnection:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "headers": raw})


def test_a_refusal_has_a_code() -> None:
    """The key and the origin are refused each under a code of its own."""
    access = Access(api_key="correct-horse", allowed_origins=["https://friend.org"])
    access.check_key(connection(x_api_key="correct-horse"), Role.PUBLISH)
    access.check_site(connection(origin="https://friend.org", host="example.com"))
    with pytest.raises(CodedError) as no_key:
        access.check_key(connection(x_api_key="another"), Role.PUBLISH)
    with pytest.raises(CodedError) as no_origin:
        access.check_site(connection(origin="https://evil.com", host="example.com"))
    assert str(no_origin.value) == (
        "pages of origin 'https://evil.com' may not connect to host 'example.com', asked over http: "
        "allowed_origins (FANWISE_ALLOWED_ORIGINS) says which may"
    )
    assert (no_key.value.code, no_origin.value.code) == (ErrorCode.UNAUTHORISED, ErrorCode.BAD_ORIGIN)


def test_a_server_without_a_key_is_read_only_through_a_proxy() -> None:
    """Who reaches the proxy is no program of this machine."""
    for header in ("x_forwarded_for", "via", "forwarded", "x_real_ip"):
        with pytest.raises(CodedError, match="a proxy has passed this on") as refused:
            Access(passed_on=False).check_key(connection(**{header: "192.0.2.7"}), Role.PUBLISH)
        assert refused.value.code is ErrorCode.FORBIDDEN
        Access().check_key(connection(**{header: "192.0.2.7"}), Role.OPERATE)
    Access(passed_on=False).check_key(connection(), Role.OPERATE)
    with_key = Access(passed_on=False, api_key="correct-horse")
    with_key.check_key(connection(x_api_key="correct-horse", via="1.1 proxy"), Role.OPERATE)


def test_guards_take_no_thread() -> None:
    """FastAPI runs a dependency that is no coroutine function in a thread: each request would wait for one."""
    for made in (operator_guards(Access()), publisher_guards(Access()), list_guards(Access())):
        functions = [guard.dependency for guard in made if inspect.isfunction(guard.dependency)]
        assert len(functions) == 2
        assert all(inspect.iscoroutinefunction(guard) for guard in functions)


@pytest.mark.parametrize("read", ["key", "token", "nobody"])
def test_reading_asks_for_what_there_is(read: str) -> None:
    """A server that nobody could read is a mistake."""
    with pytest.raises(ValueError, match=r"read with|'nobody'"):
        Access(read=read)
