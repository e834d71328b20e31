"""Root certificates without the signatures that they put under themselves, and without labels.

Nobody verifies the signatures: a root is trusted because it is in the set, and Go's crypto/x509
looks at its name, key and constraints alone. Signatures do not compress; without them the Mozilla
set costs two fifths less. All lengths, and so all offsets into the bundle, stay as they were.
Names and digests, which the list of offsets has for people, stand in the binary too, and nobody
reads them.
"""

from __future__ import annotations

import re

from build.core.errors import BuildFailed

SEQUENCE, BIT_STRING = 0x30, 0x03
"""ASN.1 tags (X.690) of what RFC 5280's Certificate is made of."""


_LABEL = re.compile(r'^\t\t(?:cn|sha256Hash): +"[^"\n]*",\n', re.MULTILINE)
_ENTRY = re.compile(r"^\t\tcertStartOff:", re.MULTILINE)


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


def unlabel(listing: str) -> str:
    """Return the Go source that lists the certificates' offsets without each one's two labels.

    Raises BuildFailed if an entry has others (x509roots' gen_fallback_bundle.go writes them).
    """
    text, labels = _LABEL.subn("", listing)
    entries = len(_ENTRY.findall(text))
    if not entries or labels != 2 * entries:
        raise BuildFailed(
            "the list of root certificates has another form",
            why=f"{entries} entries, {labels} names and digests",
        )
    return text
