"""The comparison has to find what it is there to find: packets that are missing, and packets twice."""

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


def udp(to, source="0af40102", destination="0af40202", ports=(40000, 8002), ident=1, ttl=64):
    payload = struct.pack("!HHHH", *ports, 12, 0) + b"data"
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), ident, 0, ttl, 17, 0)
    return (bytes.fromhex(to) + bytes.fromhex(NODE) + b"\x08\x00" + header
            + bytes.fromhex(source) + bytes.fromhex(destination) + payload)


def broadcast(tag=b"x"):
    return bytes.fromhex(GROUP) + bytes.fromhex(NODE) + b"\x08\x06" + tag * 28


class CompareTest(unittest.TestCase):
    def totals(self, recordings, sensor):
        """Expected, lost and doubled over all kinds; recordings by file name, edges a and b."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "edges").write_text(f"a {POD_A} 1\nb {POD_B} 1\n")
            (folder / "window").write_text(f"{9 * 10**9} {11 * 10**9}")
            for file in ("a.in", "a.out", "b.in", "b.out"):
                (folder / file).write_bytes(pcap(recordings.get(file, [])))
            (folder / "sensor").write_bytes(pcap(sensor))
            window = compare.Window(folder / "window")
            rows = compare.compare(compare.Recordings(folder, window), window,
                                   compare.captures.read(folder / "sensor"))
        return tuple(sum(row[name] for row in rows.values())
                     for name in ("expected", "lost", "doubled"))

    def test_a_packet_that_crosses_two_edges_is_one(self):
        seen = {"a.in": [udp(NODE)], "b.out": [udp(POD_B, ttl=62)]}
        self.assertEqual(self.totals(seen, [udp(NODE)]), (1, 0, 0))
        self.assertEqual(self.totals(seen, []), (1, 1, 0))
        self.assertEqual(self.totals(seen, [udp(NODE), udp(POD_B, ttl=62)]), (1, 0, 1))

    def test_translation_does_not_make_it_another(self):
        seen = {"a.in": [udp(NODE, destination="0a600035", ports=(40000, 53))],
                "b.out": [udp(POD_B, ports=(40000, 5353))]}
        self.assertEqual(self.totals(seen, [udp(POD_B, ports=(40000, 5353))]), (1, 0, 0))

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
