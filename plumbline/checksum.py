"""CRC-32 as zlib has it, in compiled code, of 64-bit words: eight bytes a step.

Source: M. E. Kounavis and F. L. Berry, "A systematic approach to building high performance software-based CRC generators"
(ISCC 2005), slicing-by-8.
"""

import zlib

import numpy as np

from plumbline.compiled import inlined

_ONES = 0xFFFFFFFF


def _tables() -> np.ndarray:
    """int64 (8, 256): what a byte makes of the checksum when 0 to 7 bytes of the step follow it."""
    tables = np.zeros((8, 256), dtype=np.int64)
    for byte in range(256):
        tables[0, 255 ^ byte] = zlib.crc32(bytes([byte])) ^ 0xFF000000
    for following in range(1, 8):
        before = tables[following - 1]
        tables[following] = (before >> 8) ^ tables[0, before & 255]
    return tables


_TABLES = _tables()


@inlined
def crc32_of(words: np.ndarray, begin: int, end: int) -> int:
    """zlib.crc32 of the bytes (little-endian) of int64 words begin to end."""
    crc = _ONES
    for at in range(begin, end):
        low, high = (words[at] & _ONES) ^ crc, (words[at] >> 32) & _ONES
        crc = (
            _TABLES[7, low & 255]
            ^ _TABLES[6, (low >> 8) & 255]
            ^ _TABLES[5, (low >> 16) & 255]
            ^ _TABLES[4, low >> 24]
            ^ _TABLES[3, high & 255]
            ^ _TABLES[2, (high >> 8) & 255]
            ^ _TABLES[1, (high >> 16) & 255]
            ^ _TABLES[0, high >> 24]
        )
    return crc ^ _ONES
