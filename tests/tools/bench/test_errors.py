from __future__ import annotations

from fanwise.errors import FanwiseError
from fanwise.tools.bench.errors import BenchFailedError, OptionError


def test_they_say_what_they_carry() -> None:
    """And belong to the tree."""
    error = OptionError("--size", 3, "42 or more")
    assert str(error) == "--size is 3: it takes 42 or more"
    assert (error.option, error.value, error.allowed) == ("--size", 3, "42 or more")
    assert str(BenchFailedError("no server")) == "no server"
    assert isinstance(error, FanwiseError)
    assert isinstance(BenchFailedError("x"), FanwiseError)
