"""Capture files that tests make."""

import struct


def pcap(frames):
    """A file of frames; one may be a pair of its time in microseconds and its bytes."""
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 1)
    for frame in frames:
        micros, frame = frame if isinstance(frame, tuple) else (0, frame)
        data += struct.pack("<IIII", 10, micros, len(frame), len(frame)) + frame
    return data


def block(order, kind, content):
    """A block of a pcapng file; the order of its bytes is that of `struct`."""
    content += bytes(-len(content) % 4)
    length = struct.pack(f"{order}I", len(content) + 12)
    return struct.pack(f"{order}I", kind) + length + content + length


def section(order, application=""):
    """The begin of a pcapng file, with the name of the program that wrote it."""
    content = struct.pack(f"{order}IHHq", 0x1a2b3c4d, 1, 0, -1)
    if application:
        content += option(order, 4, application) + bytes(4)
    return block(order, 0x0a0d0d0a, content)


def option(order, code, text):
    data = text.encode()
    return struct.pack(f"{order}HH", code, len(data)) + data + bytes(-len(data) % 4)


def interface(order, link_type=1, name=""):
    options = option(order, 2, name) + bytes(4) if name else b""
    return block(order, 1, struct.pack(f"{order}HHI", link_type, 0, 65535) + options)


def packet(order, frame):
    """A frame of the first interface."""
    return block(order, 6, struct.pack(f"{order}IIIII", 0, 0, 7, len(frame), len(frame)) + frame)
