#!/usr/bin/env python3
"""ovmf_vars.py FILE: a store of UEFI variables, looked at from outside.

Prints `NAME STATE` for each variable and ends with status 0 if the store is
whole: header, variables one behind the other, then erased flash.  With --fill
LEFT it is filled with deleted variables up to LEFT bytes, so that firmware has
to tidy up soon.

UEFI PI 1.7, volume 3, 3.2.1 (volume header); edk2, VariableFormat.h.
"""
import struct
import sys

STORE = bytes.fromhex("782cf3aa7b949a43a1802e144ec37792")  # authenticated variables
HEADER, START, DELETED = 60, b"\xaa\x55", 0x3c


def store(b):
    """Where its variables begin and end."""
    length, = struct.unpack_from("<H", b, 48)
    assert b[40:44] == b"_FVH", "no firmware volume"
    assert sum(struct.unpack_from(f"<{length // 2}H", b)) & 0xffff == 0, "the volume header's checksum"
    signature, size, form, state = struct.unpack_from("<16sIBB", b, length)
    assert signature == STORE and form == 0x5a and state == 0xfe, "no variable store"
    return length + 28, length + size


def variables(b):
    """(name, state) of each, and then where the last one ends."""
    at, end = store(b)
    found = []
    while at + HEADER <= end and b[at:at + 2] == START:
        names, datas = struct.unpack_from("<II", b, at + 36)
        state = b[at + 2]
        if state == 0xff:  # the header was not written to its end
            names = datas = 0
        assert at + HEADER + names + datas <= end, f"variable at {at:#x} is longer than the store"
        found.append((b[at + HEADER:at + HEADER + names].decode("utf-16le").rstrip("\0"), state))
        at = at + HEADER + names + datas + 3 & ~3
    assert all(x == 0xff for x in b[at:end]), f"no variable at {at:#x}, and no erased flash"
    return found, at, end


def fill(b, at, end, left):
    name = "Filler\0".encode("utf-16le")
    while end - at - left > HEADER + len(name) + 4:
        size = min(1000, end - at - left - HEADER - len(name)) & ~3
        b[at:at + HEADER + len(name) + size] = struct.pack("<2sBxI8x16xIII16s", START, DELETED, 3, 0, len(name), size, bytes(16)) \
            + name + bytes(size)
        at = at + HEADER + len(name) + size + 3 & ~3


def main():
    b = bytearray(open(sys.argv[-1], "rb").read())
    found, at, end = variables(b)
    if sys.argv[1] == "--fill":
        fill(b, at, end, int(sys.argv[2]))
        variables(b)
        open(sys.argv[-1], "r+b").write(b)
    for name, state in found:
        print(name, f"{state:#04x}")


try:
    main()
except AssertionError as e:
    sys.exit(f"{sys.argv[-1]}: {e}")
