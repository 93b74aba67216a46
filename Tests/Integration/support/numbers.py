"""Numbered datagrams, by which a test sees what is lost or doubled: a pod's number, and their own."""

import struct

from support import captures
from support.frames import UDP, Frame

# Where they go.
PORT = 9999


def payload(pod, number, size=64):
    return struct.pack("!II", pod, number).ljust(size, b".")


def numbers_by_pod(test, collector, agent, endpoint, file):
    """Ends agent and collector, and returns how often each number has come, by pod."""
    endpoint.settled()
    test.assertEqual(agent.stop(), 0, agent.text()[-4000:])
    collector.await_text("agent gone")
    test.assertEqual(collector.stop(), 0)
    found = {}
    for captured in captures.read(file):
        frame = Frame(captured.data)
        if frame.goes_to(UDP, PORT):
            pod, number = struct.unpack_from("!II", frame.payload)
            numbers = found.setdefault(pod, {})
            numbers[number] = numbers.get(number, 0) + 1
    return found
