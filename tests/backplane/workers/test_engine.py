from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fanwise.backplane.workers import engine as module
from fanwise.backplane.workers.engine import EngineError, PrivateEngine, find_program
from fanwise.backplane.workers.processes import start
from fanwise.errors import SettingsError

from ...support.engines import ask, binary

pytestmark = pytest.mark.anyio


async def test_a_private_engine() -> None:
    """Listens on no port, keeps nothing on disk, and is in a folder that only its user can open."""
    engine = PrivateEngine(binary(), memory_bytes=50_000_000, start=start)
    folder = engine._folder
    try:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        await engine.start()
        expected = {b"port": b"0", b"save": b"", b"appendonly": b"no", b"maxmemory-policy": b"noeviction"}
        facts = await ask(folder / "s", "CONFIG", "GET", *(name.decode() for name in expected), "maxmemory")
        assert dict(zip(facts[::2], facts[1::2], strict=True)) == {**expected, b"maxmemory": b"50000000"}
    finally:
        engine.stop()
    assert not folder.exists()
    assert engine._process is not None
    assert engine._process.poll() is not None


async def test_an_engine_says_why_it_has_not_started() -> None:
    """In the last words of its log."""
    engine = PrivateEngine(binary(), memory_bytes=50_000_000, start=start)
    options = [*engine._argv(), "--hz", "nonsense"]
    engine._argv = lambda: options  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="ended with status 1"):
        await engine.start()
    engine.stop()


async def test_an_engine_that_cannot_be_started() -> None:
    """The system says why."""
    engine = PrivateEngine("/nonexistent/redis-server", memory_bytes=1, start=start)
    with pytest.raises(EngineError, match=r"/nonexistent/redis-server cannot be started: .*No such file"):
        await engine.start()
    engine.stop()


def test_which_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the settings name, then what is in PATH, then the wheel; else what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_program(None).endswith("valkey-server")
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).touch(mode=0o755)
        assert find_program(None) == str(tmp_path / name)
    assert find_program("redis-server") == str(tmp_path / "redis-server")
    with pytest.raises(SettingsError, match=r"FANWISE_ENGINE .*'kvrocks': there is no such program"):
        find_program("kvrocks")
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).unlink()
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"install 'fanwise\[workers\]'"):
        find_program(None)


def test_a_socket_needs_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whose path fits into the address of a socket; else nothing is left, and the text says which folder is meant."""
    long = tmp_path / ("x" * 100)
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with pytest.raises(SettingsError, match=r"in TMPDIR .*No such file"):
        PrivateEngine(binary(), memory_bytes=1, start=start)
    long.mkdir()
    with pytest.raises(SettingsError, match=r"in TMPDIR .*longer than the 107 bytes"):
        PrivateEngine(binary(), memory_bytes=1, start=start)
    assert list(long.iterdir()) == []
