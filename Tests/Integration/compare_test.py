"""The comparison has to find what it is there to find: packets that are missing, twice, or in a form
that they should not have, and flows that came from two edges."""

import importlib.machinery
import importlib.util
import pathlib
import struct
import sys

sys.dont_write_bytecode = True
import tempfile
import unittest

TOOLS = pathlib.Path(__file__).resolve().parent.parent.parent / "tools"
LOADER = importlib.machinery.SourceFileLoader("compare", str(TOOLS / "compare"))
SPEC = importlib.util.spec_from_loader("compare", LOADER)
compare = importlib.util.module_from_spec(SPEC)
LOADER.exec_module(compare)

NODE, POD_A, POD_B = "020000000001", "02000000000a", "02000000000b"
GROUP = "ffffffffffff"


def pcap(frames):
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for frame in frames:
        data += struct.pack("<IIII", 10, 0, len(frame), len(frame)) + frame
    return data


def udp(to, source="0af40102", destination="0af40202", ports=(40000, 8002), ident=1, ttl=64,
        by=NODE, data=b"data"):
    payload = struct.pack("!HHHH", *ports, 8 + len(data), 0) + data
    return ipv4(to, by, source, destination, payload, ident, ttl)


def ipv4(to, by, source, destination, payload, ident=1, ttl=64, fragment=0):
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), ident, fragment, ttl, 17, 0)
    return (bytes.fromhex(to) + bytes.fromhex(by) + b"\x08\x00" + header
            + bytes.fromhex(source) + bytes.fromhex(destination) + payload)


def pieces(to, size, ident=7):
    """A datagram of 64 bytes cut into pieces."""
    datagram = struct.pack("!HHHH", 40000, 8002, 64, 0) + bytes(range(56))
    for offset in range(0, 64, size):
        more = 0x2000 if offset + size < 64 else 0
        yield ipv4(to, NODE, "0af40102", "0af40202", datagram[offset:offset + size], ident,
                   fragment=offset // 8 | more)


def broadcast(tag=b"x"):
    return bytes.fromhex(GROUP) + bytes.fromhex(NODE) + b"\x08\x06" + tag * 28


class CompareTest(unittest.TestCase):
    def totals(self, recordings, sensor, away=None):
        """Expected, lost, doubled, and if there are any misformed and split, over all kinds.

        Recordings by file name, of edges a and b."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "edges").write_text(f"a {POD_A} 1\nb {POD_B} 1\n")
            (folder / "window").write_text(f"{9 * 10**9} {11 * 10**9}")
            for file in ("a.in", "a.out", "b.in", "b.out"):
                (folder / file).write_bytes(pcap(recordings.get(file, [])))
            (folder / "sensor").write_bytes(pcap(sensor))
            if away:
                (folder / "away").write_text(away)
            rows = compare.compare(compare.Recordings(folder, compare.Window(folder)),
                                   compare.captures.read(folder / "sensor"))
        totals = [sum(row[name] for row in rows.values())
                  for name in ("expected", "lost", "doubled", "form", "split")]
        return tuple(totals[:3] if not any(totals[3:]) else totals)

    def test_a_packet_that_crosses_two_edges_is_one(self):
        seen = {"a.in": [udp(NODE)], "b.out": [udp(POD_B, ttl=62)]}
        self.assertEqual(self.totals(seen, [udp(NODE)]), (1, 0, 0))
        self.assertEqual(self.totals(seen, []), (1, 1, 0))
        self.assertEqual(self.totals(seen, [udp(NODE), udp(POD_B, ttl=62)]), (1, 0, 1))

    def test_translation_does_not_make_it_another(self):
        seen = {"a.in": [udp(NODE, destination="0a600035", ports=(40000, 53))],
                "b.out": [udp(POD_B, ports=(40000, 5353))]}
        self.assertEqual(self.totals(seen, [udp(POD_B, ports=(40000, 5353))]), (1, 0, 0))

    def test_a_service_is_not_named_where_its_backend_can_be(self):
        called = udp(NODE, destination="0a600035", ports=(40000, 53))
        seen = {"a.in": [called], "b.out": [udp(POD_B, ports=(40000, 5353))]}
        self.assertEqual(self.totals(seen, [called]), (1, 0, 0, 1, 0))
        self.assertEqual(self.totals({"a.in": [called]}, [called]), (1, 0, 0))

    def test_a_flow_has_one_edge(self):
        back = dict(source="0af40202", destination="0af40102", ports=(8002, 40000), ident=2)
        seen = {"a.in": [udp(NODE, by=POD_A)], "b.out": [udp(POD_B, ttl=99)],
                "b.in": [udp(NODE, by=POD_B, **back)], "a.out": [udp(POD_A, ttl=99, **back)]}
        at_b = [udp(POD_B, ttl=99), udp(NODE, by=POD_B, **back)]
        both = [udp(NODE, by=POD_A), udp(NODE, by=POD_B, **back)]
        self.assertEqual(self.totals(seen, at_b), (2, 0, 0))
        self.assertEqual(self.totals(seen, both), (2, 0, 0, 0, 1))

    def test_datagrams_are_compared_whole(self):
        seen = {"a.in": [*pieces(NODE, 16)], "b.out": [*pieces(POD_B, 24, ident=8)]}
        self.assertEqual(self.totals(seen, [*pieces(NODE, 16)]), (1, 0, 0))
        self.assertEqual(self.totals(seen, [*pieces(POD_B, 24, ident=8)]), (1, 0, 0))
        self.assertEqual(self.totals(seen, [*pieces(NODE, 16)] * 2), (1, 0, 1))
        # The pieces that are left over are no datagram, and were not expected.
        self.assertEqual(self.totals(seen, [*pieces(NODE, 16)][1:]), (1, 1, 3))

    def test_an_agent_that_is_away_may_miss_packets_but_double_none(self):
        seen = {"a.in": [udp(NODE)]}
        away = f"{10 * 10**9 - 1} {10 * 10**9 + 1}"
        self.assertEqual(self.totals(seen, [], away), (0, 0, 0))
        self.assertEqual(self.totals(seen, [udp(NODE)] * 2, away), (1, 0, 1))
        self.assertEqual(self.totals(seen, [], f"{8 * 10**9} {9 * 10**9}"), (1, 1, 0))

    def test_flooded_unicast_is_nobodys(self):
        seen = {"a.out": [udp(POD_A)], "b.out": [udp(POD_A)]}
        self.assertEqual(self.totals(seen, [udp(POD_A)]), (1, 0, 0))
        self.assertEqual(self.totals(seen, [udp(POD_A)] * 2), (1, 0, 1))

    def test_a_broadcast_is_one_however_many_ports_get_it(self):
        seen = {"a.out": [broadcast()], "b.out": [broadcast()]}
        self.assertEqual(self.totals(seen, [broadcast()]), (1, 0, 0))
        self.assertEqual(self.totals(seen, [broadcast()] * 2), (1, 0, 1))
        self.assertEqual(self.totals(seen, []), (1, 1, 0))

    def test_what_no_edge_has_seen_is_doubled(self):
        seen = {"a.in": [udp(NODE)]}
        self.assertEqual(self.totals(seen, [udp(NODE), udp(NODE, ident=9)]), (1, 0, 1))


if __name__ == "__main__":
    unittest.main()
