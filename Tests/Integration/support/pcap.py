"""Capture files that tests make."""

import struct


def pcap(frames):
    """A file of frames; one may be a pair of its time in microseconds and its bytes."""
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 1)
    for frame in frames:
        micros, frame = frame if isinstance(frame, tuple) else (0, frame)
        data += struct.pack("<IIII", 10, micros, len(frame), len(frame)) + frame
    return data
