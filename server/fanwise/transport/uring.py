"""Sweeps through io_uring(7): one system call sends the same bytes to a whole wave of cohorts.

Plain Python over the C library that the interpreter is linked with. Each request is a send(2) with MSG_DONTWAIT, so the
kernel completes all of them inside io_uring_enter(2): no request outlives the call, and no descriptor is used after its
lease. Every call counts the completions. Constants and layouts: linux/io_uring.h.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
from array import array
from collections.abc import Callable, Collection
from typing import Final

from ..broadcaster.sweep import BROKEN, TIMED_OUT, WAVE_CLIENTS, write_to_all

ENTRIES: Final = WAVE_CLIENTS  # in one call; measured: 128 cost 13 to 27 % more per client, 1,024 save little

_SYS_SETUP, _SYS_ENTER = 425, 426  # on all architectures but Alpha
_SETUP_SUBMIT_ALL = 1 << 7  # a refused entry does not stop those behind it (Linux 5.18)
_FEATURES = 1 << 0 | 1 << 1  # IORING_FEAT_SINGLE_MMAP, NODROP
_OFF_SQES = 0x1000_0000
_OP_SEND = 26
_WITHOUT_WAITING = getattr(socket, "MSG_DONTWAIT", 0)
_WORD = 0xFFFF_FFFF

# struct io_uring_sqe, 64 bytes: u8 opcode, u8 flags, u16 ioprio, s32 fd, u64 off, u64 addr, u32 len, u32 msg_flags,
# u64 user_data; the places of what is set, in words of 32 and of 64 bits. struct io_uring_cqe, 16 bytes: u64 user_data,
# s32 res, u32 flags.
_SQE_BYTES, _SQE_32, _SQE_64 = 64, 16, 8
_FD, _LEN, _MSG_FLAGS, _ADDR, _USER_DATA = 1, 6, 7, 2, 4
_CQE_BYTES, _CQE_32, _CQE_64, _RES = 16, 4, 2, 2


class _Offsets(ctypes.Structure):
    """struct io_sqring_offsets and io_cqring_offsets, which differ from the fifth field on."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("head", "tail", "mask", "entries", "e", "f", "g", "h")),
        ("address", ctypes.c_uint64),
    )


class _Params(ctypes.Structure):
    """struct io_uring_params. `sq.g` is where the index array begins, `cq.f` where the completions do."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("sq_entries", "cq_entries", "flags", "cpu", "idle", "features", "wq")),
        ("reserved", ctypes.c_uint32 * 3),
        ("sq", _Offsets),
        ("cq", _Offsets),
    )


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library


class Ring:
    """A submission and a completion queue. Owns the invariant that both are empty between two calls.

    Args:
        entries: How many requests one system call carries; the kernel rounds up to a power of two.
        flags: Of each send(2), beside MSG_NOSIGNAL.

    Raises:
        OSError: The kernel has no io_uring, is too old for it (ENOSYS), or forbids it (EPERM).
    """

    def __init__(self, *, entries: int = ENTRIES, flags: int = _WITHOUT_WAITING) -> None:
        self._syscall: Callable[..., int] = _library().syscall
        params = _Params(flags=_SETUP_SUBMIT_ALL)
        self._fd = self._syscall(_SYS_SETUP, entries, ctypes.byref(params))
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        if params.features & _FEATURES != _FEATURES:
            self.close()
            raise OSError(errno.ENOSYS, "this io_uring is too old")
        self._ring_argument = ctypes.c_long(self._fd)
        self.entries = int(params.sq_entries)
        self.broken = False
        self._map(params)
        self._fill(flags | socket.MSG_NOSIGNAL)

    def _map(self, params: _Params) -> None:
        count, sq, cq = self.entries, params.sq, params.cq
        queues = mmap.mmap(self._fd, max(sq.g + 4 * count, cq.f + _CQE_BYTES * params.cq_entries))
        requests = mmap.mmap(self._fd, _SQE_BYTES * count, offset=_OFF_SQES)
        self._words = words = memoryview(queues).cast("I")
        self._sq_head, self._sq_tail = sq.head // 4, sq.tail // 4
        self._cq_head, self._cq_tail = cq.head // 4, cq.tail // 4
        self._sq_mask, self._cq_mask = words[sq.mask // 4], words[cq.mask // 4]
        self._order = slice(sq.g // 4, sq.g // 4 + count)
        self._orders = memoryview(array("I", [*range(count), *range(count)]))
        self._completion_bytes = memoryview(queues)[cq.f : cq.f + _CQE_BYTES * params.cq_entries]
        self._completions = self._completion_bytes.cast("i")
        self._request_bytes = memoryview(requests)
        self._fds = memoryview(requests).cast("i")
        self._request_words = memoryview(requests).cast("I")
        self._request_longs = memoryview(requests).cast("Q")

    def _fill(self, flags: int) -> None:
        """Sets what is the same in all requests ever made, and in the completions that are usual."""
        self._usual, self._whole_size = bytearray(_CQE_BYTES * self.entries), 0
        requests = memoryview(self._usual).cast("Q")
        for index in range(self.entries):
            self._request_bytes[_SQE_BYTES * index] = _OP_SEND
            self._request_words[_SQE_32 * index + _MSG_FLAGS] = flags
            self._request_longs[_SQE_64 * index + _USER_DATA] = requests[_CQE_64 * index] = index

    def close(self) -> None:
        """Gives the ring back to the kernel. Idempotent; `write_to_all` goes on with write(2)."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self.broken = -1, True

    def write_to_all(self, fds: Collection[int], data: bytes) -> list[tuple[int, int]]:
        """Sends `data` to each non-blocking socket once; returns what `sweep.write_to_all` returns."""
        if self.broken:
            return write_to_all(fds, data)
        numbers = array("i", fds)
        if len(numbers) <= self.entries:
            return self._send(numbers, data)
        short: list[tuple[int, int]] = []
        for start in range(0, len(numbers), self.entries):
            part = numbers[start : start + self.entries]
            short += write_to_all(part, data) if self.broken else self._send(part, data)
        return short

    def _send(self, fds: array[int], data: bytes) -> list[tuple[int, int]]:
        count, size, words = len(fds), len(data), self._words
        address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0  # of the bytes themselves
        self._fds[_FD : _SQE_32 * count : _SQE_32] = fds
        self._request_words[_LEN : _SQE_32 * count : _SQE_32] = array("I", (size,)) * count
        self._request_longs[_ADDR : _SQE_64 * count : _SQE_64] = array("Q", (address,)) * count
        tail = words[self._sq_tail]
        turned = self.entries - (tail & self._sq_mask)
        words[self._order] = self._orders[turned : turned + self.entries]  # the next entry is request 0
        words[self._sq_tail] = (tail + count) & _WORD
        self._syscall(_SYS_ENTER, self._ring_argument, count, 0, 0, None, 0)
        begun = (words[self._sq_head] - tail) & _WORD
        first, last = words[self._cq_head], words[self._cq_tail]
        done = (last - first) & _WORD
        words[self._cq_head] = last
        if begun == done == count and self._answers(first, count) == self._whole(size)[: _CQE_BYTES * count]:
            return []
        taken = zip(self._column(0, first, done), self._column(_RES, first, done), strict=True)
        return self._unusual(fds, data, begun, dict(taken))

    def _answers(self, first: int, count: int) -> bytes:
        """`count` completions as they are; `first` is the number of the first, and their places wrap around."""
        begin = _CQE_BYTES * (first & self._cq_mask)
        answers = bytes(self._completion_bytes[begin : begin + _CQE_BYTES * count])
        missing = _CQE_BYTES * count - len(answers)
        return answers + self._completion_bytes[:missing] if missing else answers

    def _whole(self, size: int) -> bytearray:
        """The completions of requests that sent `size` bytes each, in their order: the usual case."""
        if size != self._whole_size:
            memoryview(self._usual).cast("i")[_RES::_CQE_32] = array("i", (size,)) * self.entries
            self._whole_size = size
        return self._usual

    def _column(self, place: int, first: int, count: int) -> list[int]:
        """One word of `count` completions; `first` is the number of the first, and their places wrap around."""
        begin = first & self._cq_mask
        end, around = begin + count, begin + count - self._cq_mask - 1
        column = self._completions[_CQE_32 * begin + place : _CQE_32 * end : _CQE_32].tolist()
        if around > 0:
            column += self._completions[place : _CQE_32 * around : _CQE_32].tolist()
        return column

    def _unusual(self, fds: array[int], data: bytes, begun: int, taken: dict[int, int]) -> list[tuple[int, int]]:
        """Returns what was not sent whole; `taken` is {request: result} of `begun` requests."""
        short = []
        for index in range(begun):
            result = taken.get(index)
            if result is None:
                self._retire(data)
                result = -errno.EIO
            if result == -errno.EAGAIN:
                short.append((fds[index], 0))
            elif result < 0:
                short.append((fds[index], TIMED_OUT if result == -errno.ETIMEDOUT else BROKEN))
            elif result != len(data):
                short.append((fds[index], result))
        if begun < len(fds):  # the kernel had no room for them
            self._words[self._sq_tail] = self._words[self._sq_head]
            short += write_to_all(fds[begun:], data)
        return short

    def _retire(self, data: bytes) -> None:
        """Gives the ring up: a request outlived its call. Its bytes are kept for ever, since it may still read them."""
        _KEPT.append(data)
        self.close()


_KEPT: list[bytes] = []
