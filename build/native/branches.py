"""Branch filters in front of LZMA: calls of the same function are the same bytes behind them.

Each takes code and where it begins in the program, in bytes, and returns code as long in which
targets are absolute. stub/unpack.c has the inverse of each.
"""

from __future__ import annotations

import struct
import sys
from array import array


def _words(code: bytes) -> array[int]:
    found = array("I", code)
    if found.itemsize != 4:
        raise AssertionError("this Python has other arrays")
    if sys.byteorder == "big":
        found.byteswap()
    return found


def _big_endian(words: array[int]) -> bytes:
    if sys.byteorder == "little":
        words.byteswap()
    return words.tobytes()


def arm64(code: bytes, start: int) -> bytes:
    """Return code of arm64 with BL and ADRP absolute, high bytes first."""
    words = _words(code)
    for i, word in enumerate(words):
        if word & 0xFC00_0000 == 0x9400_0000:  # BL
            words[i] = 0x9400_0000 | ((word + i) & 0x3FF_FFFF)
        elif word & 0x9F00_0000 == 0x9000_0000:  # ADRP
            page = ((word >> 29) & 3) | ((word >> 3) & 0x1F_FFFC)
            page += (start + 4 * i) >> 12
            words[i] = (word & 0x9F00_001F) | (page & 3) << 29 | (page & 0x1F_FFFC) << 3
    return _big_endian(words)


def arm(code: bytes, start: int) -> bytes:
    """Return ARM code with BL absolute, high bytes first."""
    words = _words(code)
    for i, word in enumerate(words):
        if word & 0xFF00_0000 == 0xEB00_0000:  # BL
            words[i] = 0xEB00_0000 | ((word + i) & 0xFF_FFFF)
    return _big_endian(words)


def x86(code: bytes, start: int) -> bytes:
    """Return code of x86 with CALL absolute."""
    result, size, at = bytearray(code), len(code), 0
    number = struct.Struct("<i")
    while at + 5 < size:
        if result[at] != 0xE8:  # CALL; jumps stay: most of them are near, and pack better so
            at += 1
            continue
        (distance,) = number.unpack_from(result, at + 1)
        if -at <= distance < size - at:
            number.pack_into(result, at + 1, distance + at)
        elif size - at <= distance < size:
            # The inverse could not tell these from targets: they take the numbers left free.
            number.pack_into(result, at + 1, distance - size)
        at += 5
    return bytes(result)


FILTERS = {1: arm64, 2: arm, 3: x86}
"""By the number in a packed file's header (stub/payload.h)."""
