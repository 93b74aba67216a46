"""The comparison has to find what it is there to find: packets that are missing, twice, or in a form
that they should not have, and flows that came from two edges."""

import pathlib
import struct
import sys

sys.dont_write_bytecode = True
import tempfile
import unittest

from support.comparison import compare
from support.pcap import pcap

NODE, POD_A, POD_B = "020000000001", "02000000000a", "02000000000b"
POD_C, FIREWALL, POD_D, GUEST = "02000000000c", "0200000000f1", "02000000000d", "02000000000e"
GROUP = "ffffffffffff"


def at(milliseconds, frame):
    """A frame that comes so long after the others."""
    return milliseconds * 1000, frame


def udp(to, source="0af40102", destination="0af40202", ports=(40000, 8002), ident=1, ttl=64,
        by=NODE, data=b"data"):
    payload = struct.pack("!HHHH", *ports, 8 + len(data), 0) + data
    return ipv4(to, by, source, destination, payload, ident, ttl)


def ipv4(to, by, source, destination, payload, ident=1, ttl=64, fragment=0, protocol=17):
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), ident, fragment, ttl, protocol, 0)
    return (bytes.fromhex(to) + bytes.fromhex(by) + b"\x08\x00" + header
            + bytes.fromhex(source) + bytes.fromhex(destination) + payload)


SYN, RST_ACK, SYN_ACK = 2, 20, 18
CLIENT, SERVER = "0af40202", "0af40104"
SERVICE = "0a600046"


def tcp(to, flags, by=NODE, source=CLIENT, destination=SERVER, ports=(40000, 8001), ident=1, ttl=64):
    payload = struct.pack("!HHIIBBHHH", *ports, 7, 0, 5 << 4, flags, 8192, 0, 0)
    return ipv4(to, by, source, destination, payload, ident, ttl, protocol=6)


def tcp_back(to, flags, by=NODE, source=CLIENT, destination=SERVER, ports=(40000, 8001), ident=2,
             ttl=64):
    return tcp(to, flags, by, destination, source, ports[::-1], ident, ttl)


def pieces(to, size, ident=7):
    """A datagram of 64 bytes cut into pieces."""
    datagram = struct.pack("!HHHH", 40000, 8002, 64, 0) + bytes(range(56))
    for offset in range(0, 64, size):
        more = 0x2000 if offset + size < 64 else 0
        yield ipv4(to, NODE, "0af40102", "0af40202", datagram[offset:offset + size], ident,
                   fragment=offset // 8 | more)


def broadcast(tag=b"x", by=NODE):
    return bytes.fromhex(GROUP) + bytes.fromhex(by) + b"\x08\x06" + tag * 28


class CompareTest(unittest.TestCase):
    def totals(self, recordings, sensor, away=None, network=None):
        """Expected, lost, doubled, and if there are any misformed and split, over all kinds.

        Recordings by file name, of edges a and b, and of c, d and e: a client, a firewall, a server."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "edges").write_text(
                f"a a1 {POD_A} 1\nb b1 {POD_B},{GUEST} 1\nc e1 {POD_C} 1\nd f1 {FIREWALL} 1\n"
                f"e c1 {POD_D} 1\n")
            (folder / "window").write_text(f"{9 * 10**9} {11 * 10**9}")
            for file in (f"{edge}.{way}" for edge in "abcde" for way in ("in", "out")):
                (folder / file).write_bytes(pcap(recordings.get(file, [])))
            (folder / "sensor").write_bytes(pcap(sensor))
            if network:
                (folder / "network").write_text(f"{network}\n")
            if away:
                (folder / "away").write_text(away)
            self.rows, self.limits = compare.compare(
                compare.Recordings(folder, compare.Window(folder)),
                compare.captures.read(folder / "sensor"))
        totals = [sum(row[name] for row in self.rows.values())
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

    def test_a_packet_that_keeps_its_macs_goes_to_whom_it_is_addressed(self):
        """The datagram comes to b1 as a1 has sent it to the node, and its answer to a1 likewise."""
        there = dict(by=POD_A, destination="0af40103", ports=(40000, 8001))
        back = dict(by=POD_B, source="0af40103", destination="0af40102", ports=(8001, 40000), ident=2)
        arrived, returned = udp(NODE, ttl=99, **there), udp(NODE, ttl=99, **back)
        seen = {"a.in": [udp(NODE, **there)], "b.out": [arrived],
                "b.in": [udp(NODE, **back)], "a.out": [returned]}
        at_b, both = [arrived, udp(NODE, **back)], [arrived, returned]
        self.assertEqual(self.totals(seen, at_b, network="ebpf-peer-macs"), (2, 0, 0))
        self.assertEqual(self.totals(seen, both, network="ebpf-peer-macs"), (2, 0, 0, 0, 1))

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

    def test_a_guest_lives_behind_its_pods_edge(self):
        seen = {"a.in": [udp(GUEST, by=POD_A)], "b.out": [udp(GUEST, ttl=99)]}
        self.assertEqual(self.totals(seen, [udp(GUEST, ttl=99)]), (1, 0, 0))
        self.assertEqual(self.totals(seen, [udp(GUEST, by=POD_A), udp(GUEST, ttl=99)]), (1, 0, 1, 0, 1))
        seen = {"b.in": [broadcast(by=GUEST)], "a.out": [broadcast(by=GUEST)]}
        self.assertEqual(self.totals(seen, [broadcast(by=GUEST)]), (1, 0, 0))
        self.assertEqual(self.totals(seen, []), (1, 1, 0))
        self.assertEqual(self.totals(seen, [broadcast(by=GUEST)] * 2), (1, 0, 1))
        self.assertEqual(set(self.rows), {compare.forwarding.GROUPS_OF_GUESTS})

    def test_a_firewall_makes_two_packets_of_one(self):
        """Each is expected from an edge of its own wire, and one cannot stand for the other."""
        ends = dict(source="0af40106", destination="0af40104", ports=(40000, 8860))
        sent, got = udp(FIREWALL, by=POD_C, **ends), udp(FIREWALL, by=POD_C, ttl=99, **ends)
        passed_on = udp(POD_D, by=FIREWALL, ttl=98, **ends)
        arrived = udp(POD_D, by=FIREWALL, ttl=99, **ends)
        seen = {"c.in": [sent], "d.out": [got], "d.in": [passed_on], "e.out": [arrived]}
        for first in (sent, got):
            for second in (passed_on, arrived):
                self.assertEqual(self.totals(seen, [first, second]), (2, 0, 0))
        self.assertEqual(set(self.rows), {"udp, firewall pod, same node, client's side",
                                          "udp, firewall pod, same node, server's side"})
        self.assertEqual(self.totals(seen, [sent, got]), (2, 1, 1, 0, 1))
        self.assertEqual(self.totals(seen, [passed_on, arrived]), (2, 1, 1, 0, 1))
        self.assertEqual(self.totals(seen, [got]), (2, 1, 0))
        # What the firewall keeps is one packet.
        kept = {"c.in": [sent], "d.out": [got]}
        self.assertEqual(self.totals(kept, [got]), (1, 0, 0))
        self.assertEqual(self.totals(kept, [got, arrived]), (1, 0, 1))

    def test_each_side_of_a_firewall_has_one_edge(self):
        ends = dict(source="0af40106", destination="0af40104", ports=(40000, 8860))
        back = dict(source="0af40104", destination="0af40106", ports=(8860, 40000), ident=2)
        sent, got = udp(FIREWALL, by=POD_C, **ends), udp(FIREWALL, by=POD_C, ttl=99, **ends)
        answer, received = udp(POD_C, by=FIREWALL, ttl=98, **back), udp(POD_C, by=FIREWALL, ttl=99, **back)
        seen = {"c.in": [sent], "d.out": [got], "d.in": [answer], "c.out": [received]}
        self.assertEqual(self.totals(seen, [got, answer]), (2, 0, 0))
        self.assertEqual(self.totals(seen, [sent, received]), (2, 0, 0))
        self.assertEqual(self.totals(seen, [sent, answer]), (2, 0, 0, 0, 1))

    def test_a_redirect_is_of_no_flow(self):
        packet = udp(POD_B, by=POD_A, ttl=99)

        def error(kind):
            return ipv4(POD_A, NODE, "0af40101", "0af40102", kind + bytes(6) + packet[14:], 5, ttl=99,
                        protocol=1)

        for kind, split in ((b"\5\1", ()), (b"\3\3", (0, 1))):
            seen = {"a.in": [udp(POD_B, by=POD_A)], "b.out": [packet], "a.out": [error(kind)]}
            self.assertEqual(self.totals(seen, [packet, error(kind)]), (2, 0, 0, *split))
            self.assertEqual(self.totals(seen, [packet]), (2, 1, 0))

    def test_an_unanswered_request_comes_from_its_sender(self):
        sent, arrived = tcp(NODE, SYN, by=POD_A), tcp(POD_B, SYN, ttl=99)
        seen = {"a.in": [sent], "b.out": [arrived]}
        self.assertEqual(self.totals(seen, [sent]), (1, 0, 0))
        self.assertEqual(self.totals(seen, [arrived]), (1, 0, 0, 0, 1))
        self.assertEqual(self.totals(seen, []), (1, 1, 0))
        self.assertEqual(self.totals(seen, [sent, arrived]), (1, 0, 1, 0, 1))
        # It has the time at which it was sent.
        self.assertEqual(self.totals(seen, [at(500, sent)]), (1, 0, 0, 1, 0))
        self.assertEqual(self.totals({"a.in": [sent]}, [sent]), (1, 0, 0))

    def test_an_answered_request_comes_from_where_its_flow_does(self):
        sent, arrived = tcp(NODE, SYN, by=POD_A), tcp(POD_B, SYN, ttl=99)
        answer, received = tcp_back(NODE, SYN_ACK, by=POD_B), tcp_back(POD_A, SYN_ACK, ttl=99)
        seen = {"a.in": [sent], "b.out": [arrived], "b.in": [at(300, answer)],
                "a.out": [at(300, received)]}
        self.assertEqual(self.totals(seen, [arrived, at(300, answer)]), (2, 0, 0))
        self.assertEqual(self.totals(seen, [sent, at(300, answer)]), (2, 0, 0, 0, 1))
        # An answer that comes too late does not make it answered.
        seen |= {"b.in": [at(900, answer)], "a.out": [at(900, received)]}
        self.assertEqual(self.totals(seen, [sent, at(900, answer)]), (2, 0, 0))
        self.assertEqual(self.totals(seen, [arrived, at(900, answer)]), (2, 0, 0, 0, 1))

    def test_a_reset_that_no_pod_has_sent_is_no_answer(self):
        sent, reset = tcp(NODE, SYN, by=POD_A), tcp_back(POD_A, RST_ACK, ttl=99)
        seen = {"a.in": [sent], "a.out": [at(1, reset)]}
        self.assertEqual(self.totals(seen, [sent, at(1, reset)]), (2, 0, 0))
        self.assertEqual(self.totals(seen, []), (2, 2, 0))
        self.assertFalse(self.limits)

    def test_resets_of_another_node_cannot_be_told(self):
        ports = dict(ports=(40000, 8532))
        sent, reset = tcp(NODE, SYN, by=POD_A, **ports), tcp_back(POD_A, RST_ACK, ttl=99, **ports)
        seen = {"a.in": [sent], "a.out": [at(1, reset)]}
        self.assertEqual(self.totals(seen, []), (0, 0, 0))
        self.assertEqual(self.limits, {compare.unanswered.RESETS: 2})
        self.assertEqual(self.totals(seen, [sent, at(1, reset)]), (0, 0, 2))
        # Without a reset, or with one that has been sent by a pod, it can be.
        self.assertEqual(self.totals({"a.in": [sent]}, []), (1, 1, 0))
        answer = tcp_back(NODE, RST_ACK, by=POD_B, **ports)
        self.assertEqual(self.totals({**seen, "b.in": [at(1, answer)]}, []), (2, 2, 0))
        # Where the client has the lower port, its edge reports anyway.
        ports = dict(ports=(2501, 8532))
        seen = {"a.in": [tcp(NODE, SYN, by=POD_A, **ports)],
                "a.out": [at(1, tcp_back(POD_A, RST_ACK, ttl=99, **ports))]}
        self.assertEqual(self.totals(seen, []), (2, 2, 0))
        self.assertFalse(self.limits)

    def test_datagrams_that_arrive_nowhere_cannot_be_told(self):
        lost = udp(NODE, by=POD_A, source=CLIENT, destination=SERVER, ports=(40000, 8512))
        self.assertEqual(self.totals({"a.in": [lost]}, []), (0, 0, 0))
        self.assertEqual(self.limits, {compare.unanswered.DATAGRAMS: 1})
        # Others that are lost on their way are missed.
        self.assertEqual(self.totals({"a.in": [udp(NODE, by=POD_A)]}, []), (1, 1, 0))
        self.assertFalse(self.limits)

    def test_forged_requests_that_arrive_nowhere_cannot_be_told(self):
        forged = dict(source="0af40958", by=POD_A)
        lost = dict(destination="0af4024d", ports=(20000, 8583), **forged)
        self.assertEqual(self.totals({"a.in": [tcp(NODE, SYN, **lost)]}, []), (0, 0, 0))
        self.assertEqual(self.limits, {compare.unanswered.FORGERIES: 1})
        # What has arrived, or has another fate, is missed.
        arrived = dict(destination="0af40103", ports=(20000, 8581), **forged)
        seen = {"a.in": [tcp(NODE, SYN, **arrived)], "b.out": [tcp(POD_B, SYN, **arrived)]}
        self.assertEqual(self.totals(seen, []), (1, 1, 0))
        self.assertFalse(self.limits)

    def test_errors_of_nodes_in_the_name_of_a_service_are_missed(self):
        def error(port, service=SERVICE):
            quoted = tcp(NODE, SYN, source="0af40204", destination=SERVICE, ports=(port, 8621))[14:]
            return ipv4(POD_A, NODE, service, "0af40204", b"\3\3" + bytes(6) + quoted, ttl=99,
                        protocol=1)

        for lost in (error(40000), error(2501), error(40000, "c0a86401")):
            self.assertEqual(self.totals({"a.out": [lost]}, []), (1, 1, 0))
        self.assertFalse(self.limits)

    def test_a_service_is_not_named_where_its_backend_is_known(self):
        # One flow is dropped on the other node, so it is known; one is dropped on the own node, so only
        # a table of services knows it.
        for port, is_known, network in ((8611, True, None), (8612, False, None),
                                        (8612, True, "ebpf-nat")):
            ports = dict(source="0af40204", ports=(40000, port))
            called = tcp(NODE, SYN, by=POD_A, destination=SERVICE, **ports)
            translated = tcp(NODE, SYN, by=POD_A, destination="0af40103", **ports)
            right, wrong = (translated, called) if is_known else (called, translated)
            seen = {"a.in": [called]}
            self.assertEqual(self.totals(seen, [right], network=network), (1, 0, 0))
            self.assertEqual(self.totals(seen, [wrong], network=network), (1, 0, 0, 1, 0))

    def test_requests_before_an_agent_is_away_may_be_missing(self):
        away = f"{10 * 10**9 + 600 * 10**6} {10 * 10**9 + 800 * 10**6}"
        sent = tcp(NODE, SYN, by=POD_A)
        self.assertEqual(self.totals({"a.in": [sent]}, [], away), (0, 0, 0))
        self.assertEqual(self.totals({"a.in": [udp(NODE)]}, [], away), (1, 1, 0))

    def test_what_no_edge_has_seen_is_doubled(self):
        seen = {"a.in": [udp(NODE)]}
        self.assertEqual(self.totals(seen, [udp(NODE), udp(NODE, ident=9)]), (1, 0, 1))


if __name__ == "__main__":
    unittest.main()
