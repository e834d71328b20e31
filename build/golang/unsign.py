"""Root certificates without the signatures that they put under themselves.

Nobody verifies those: a root is trusted because it is in the set, and Go's crypto/x509 looks at
its name, key and constraints alone. Signatures do not compress; without them the Mozilla set costs
two fifths less. All lengths, and so all offsets into the bundle, stay as they were.
"""

from __future__ import annotations

from build.core.errors import BuildFailed

SEQUENCE, BIT_STRING = 0x30, 0x03
"""ASN.1 tags (X.690) of what RFC 5280's Certificate is made of."""


def _value(der: bytes, at: int, tag: int) -> tuple[int, int]:
    """Return start and end of the value of the DER element at an offset."""
    if der[at] != tag:
        raise BuildFailed(
            "the bundle of root certificates has another form",
            why=f"offset {at}: tag {der[at]:#x}, should be {tag:#x}",
        )
    length, start = der[at + 1], at + 2
    if length >= 0x80:
        count = length & 0x7F
        start, length = start + count, int.from_bytes(der[start : start + count], "big")
    if start + length > len(der):
        raise BuildFailed(f"the bundle of root certificates ends within the one at {at}")
    return start, start + length


def unsign(bundle: bytes) -> bytes:
    """Return a sequence of DER certificates with each one's signature replaced by zeros.

    Raises BuildFailed if it is anything else.
    """
    out, at = bytearray(bundle), 0
    while at < len(bundle):
        body, end = _value(bundle, at, SEQUENCE)
        _, algorithm = _value(bundle, body, SEQUENCE)  # what is certified
        _, signature = _value(bundle, algorithm, SEQUENCE)
        start, stop = _value(bundle, signature, BIT_STRING)
        if stop != end:
            raise BuildFailed(f"something follows the signature of the root certificate at {at}")
        out[start + 1 : stop] = bytes(stop - start - 1)  # the first byte counts unused bits
        at = end
    return bytes(out)
