"""The collector as its users start it, with agents that are right and agents that are not.

PODWIRE names the binary. Agents are played by hand, over loopback in a network namespace.
"""

import collections
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import time
import unittest

from support.collecting import CollectorCase
from support.commands import run
from support.fake_agents import FRAME, PORT, FakeAgent
from support.namespace import command_in, socket_in
from support.program import PODWIRE
from support.rpcap import packet
from support.waiting import PATIENCE_SECONDS

# It ends within two seconds; on a busy machine it may need some more.
STOP_SECONDS = 8
# Python does not have it.
SO_SNDBUFFORCE = 32


class CollectorTest(CollectorCase):
    """Agents that dial."""

    def setUp(self):
        super().setUp()
        self.collect()
        self.await_text("listening")

    def test_packets_of_two_agents_come_to_the_file(self):
        one = self.agent(b"".join(packet(FRAME, n, micros=n) for n in range(1, 4)))
        two = self.agent(packet(FRAME * 1100, 1, length=70000), source="127.0.0.2")
        self.await_start(one, two)
        self.await_packets(4)
        self.assertLess(self.end(), STOP_SECONDS)
        rows = self.fields("frame.interface_name", "frame.time_epoch", "frame.cap_len", "frame.len")
        self.assertEqual(sorted(rows), sorted(
            [("any-eth@127.0.0.1", f"1700000000.00000{n}000", "60", "60") for n in (1, 2, 3)]
            + [("any-eth@127.0.0.2", "1700000000.123456000", "66000", "70000")]))
        counts = run("capinfos", "-M", str(self.file)).stdout
        self.assertIn("Number of packets:   4", counts)
        self.assertRegex(self.text(), r"any-eth@127.0.0.1 +3 ")

    def test_an_agent_that_misbehaves_ends_alone(self):
        good = self.agent(packet(FRAME, 1))
        self.await_start(good)
        wrong = {
            "garbage": os.urandom(64),
            "another version": b"\x01" + packet(FRAME, 1)[1:],
            "a packet of 4 GiB": bytes.fromhex("00070000ffffffff") + bytes(40),
            "more bytes than the message has": bytes.fromhex("0007000000000014") + bytes(8)
            + struct.pack("!III", 99, 99, 1) + bytes(99),
        }
        for number, (what, data) in enumerate(wrong.items(), 3):
            with self.subTest(what):
                self.agent(data, source=f"127.0.0.{number}")
                self.await_text(f"agent=127.0.0.{number}")
                self.await_text("data connection:")
        silent = socket_in(self.namespace)
        silent.connect(("127.0.0.1", PORT))
        silent.sendall(b"\x00\x88\x00")
        refusing = socket_in(self.namespace)
        refusing.connect(("127.0.0.1", PORT))
        refusing.sendall(bytes.fromhex("0001000300000002") + b"no")
        self.await_text("the peer refused: no")
        good.data.sendall(packet(FRAME, 2))
        self.await_packets(2)
        self.end()
        silent.close()
        refusing.close()
        rows = [row for row in self.fields("frame.interface_name") if row[0].endswith("127.0.0.1")]
        self.assertEqual(len(rows), 2, self.text())

    def test_who_only_looks_whether_somebody_listens_is_no_reason_to_warn(self):
        self.await_start(self.agent(packet(FRAME, 1)))
        for number, end in enumerate(("close", "close with something unread", "reset"), 3):
            probe = socket_in(self.namespace)
            probe.bind((f"127.0.0.{number}", 0))
            if end == "reset":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            probe.connect(("127.0.0.1", PORT))
            if end != "reset":
                self.assertEqual(probe.recv(1, socket.MSG_PEEK), b"\0")
            if end == "close":
                probe.recv(4096)
            probe.close()
        # One that has said something is another matter.
        speaker = socket_in(self.namespace)
        speaker.bind(("127.0.0.9", 0))
        speaker.connect(("127.0.0.1", PORT))
        # Where nothing is left unread, what it has said arrives before its end.
        speaker.settimeout(PATIENCE_SECONDS)
        self.assertEqual(len(speaker.recv(16, socket.MSG_WAITALL)), 16)
        speaker.sendall(b"\0\x88\0")
        speaker.close()
        self.await_text("cannot capture from agent")
        lines = [line for line in self.text().splitlines() if "closed without data" in line]
        self.assertGreaterEqual(len(lines), 2, self.text())
        self.assertEqual([line for line in lines if " info " not in line], [])
        warnings = [line for line in self.text().splitlines() if " warning " in line]
        self.assertEqual(len(warnings), 1, self.text())
        self.assertIn("agent=127.0.0.9", warnings[0])
        self.end()

    def test_what_an_agent_has_sent_is_read_behind_its_end(self):
        """More than the collector reads in a turn. One that keeps its data connection ends later."""
        records = b"".join(packet(FRAME * 16, number) for number in range(2, 5002))
        ending, lasting = self.agent(packet(FRAME, 1)), self.agent(packet(FRAME, 1), source="127.0.0.2")
        self.await_start(ending, lasting)
        self.await_packets(2)
        # Room for all of it, whatever the collector's side takes.
        ending.data.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 4 * len(records))
        self.collector.send_signal(signal.SIGSTOP)
        ending.data.sendall(records)
        for agent in (ending, lasting):
            # It is read by another thread, which would keep it open when it is closed here.
            agent.control.shutdown(socket.SHUT_RDWR)
        ending.data.close()
        self.collector.send_signal(signal.SIGCONT)
        self.await_packets(5002)
        self.await_text("the agent closed the connection", 2)
        self.end()

    def test_silent_connections_keep_no_agent_out(self):
        """Many from one host, and then one from each of very many."""
        silent = collections.deque()

        def connect(address):
            made = socket_in(self.namespace)
            made.bind((address, 0))
            made.connect(("127.0.0.1", PORT))
            silent.append(made)
            if len(silent) > 600:
                silent.popleft().close()

        try:
            for _ in range(520):
                connect("127.0.0.9")
            self.await_start(self.agent(packet(FRAME, 1), source="127.0.0.2"))
            for number in range(10_000):
                connect(f"127.{1 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}")
                if number == 5000:
                    self.await_start(self.agent(packet(FRAME, 1), source="127.0.0.3"))
            self.await_start(self.agent(packet(FRAME, 1), source="127.0.0.4"))
            self.await_packets(3)
            # Who was silent longest has gone, and a log line for each would be too much.
            self.await_text("others wait")
            self.await_text("connections from there have not begun to capture yet")
            self.assertLess(self.text().count("\n"), 2000)
            self.assertLess(self.end(), STOP_SECONDS)
        finally:
            for made in silent:
                made.close()

    def test_agents_without_packets_keep_no_other_host_out(self):
        """One host takes all places."""
        self.collector.kill()
        self.collector.wait()
        self.collect("--agents-max", "512")
        self.await_text("listening", 2)
        for _ in range(512):
            self.agent(source="127.0.0.9")
            self.await_start(self.agents[-1])
        self.await_text("capture started", 512)
        more = self.agent(source="127.0.0.9")
        self.await_text("there are 512 agents")
        self.assertFalse(more.started.is_set())
        self.await_start(self.agent(packet(FRAME, 1), source="127.0.0.3"))
        self.await_packets(1)
        self.await_text("all places are taken, most by its network")

    def test_short_sessions_do_not_flood_the_log(self):
        begin, count = time.monotonic(), 700
        for _ in range(count):
            agent = FakeAgent(self.namespace, source="127.0.0.9")
            self.await_start(agent)
            agent.close()
        self.await_text("agent gone")
        self.end()
        most = 1024 + 10 * (time.monotonic() - begin) + 20
        self.assertLess(self.text().count("\n"), most)
        self.assertGreater(3 * count, most)

    def test_the_feed_of_another_agent_is_no_loop(self):
        """What the agent of a router sees of the feed that passes by."""
        records = [packet(FRAME, n, micros=n) for n in range(1, 301)]
        self.await_start(self.agent(b"".join(records), source="127.0.0.2"))
        self.await_packets(300)
        router = self.agent(source="127.0.0.3")
        self.await_start(router)
        frame = bytes(54) + b"".join(records[:15])
        for number in range(1, 401):
            router.data.sendall(packet(frame, number, seconds=1_600_000_000))
            time.sleep(0.01)
        self.await_text("its packets contain the feed of any-eth@127.0.0.2")
        self.await_packets(700)
        self.end()
        self.assertNotIn("its own feed", self.text())
        self.assertEqual(self.text().count("contain the feed of"), 1)

    def test_agents_that_open_no_data_connection_are_dropped(self):
        """A data connection from another address is noted."""
        agent, other = self.agent(opens=False), self.agent(opens=False, source="127.0.0.2")
        self.await_start(agent, other)
        stranger = socket_in(self.namespace)
        stranger.bind(("127.0.0.7", 0))
        stranger.connect(("127.0.0.1", agent.data_port))
        self.await_text("a data connection from 127.0.0.7 is turned away")
        self.await_text("opened no data connection, and one from 127.0.0.7 was turned away")
        self.await_text('reason="the agent opened no data connection"')
        self.assertNotIn("capture started", self.text())
        stranger.close()

    def test_a_frame_that_is_longer_than_it_was(self):
        self.await_start(self.agent(packet(FRAME, 1, length=10)))
        self.await_packets(1)
        self.end()
        self.assertEqual(self.fields("frame.cap_len", "frame.len"), [("60", "60")])

    def test_counts_that_go_back_begin_again(self):
        agent = self.agent(packet(FRAME, 1))
        agent.drops = [1000, 10, 30]
        self.await_start(agent)
        self.wait(lambda: not agent.drops[1:], "not all statistics")
        self.end()
        self.assertRegex(self.text(), r"any-eth@127.0.0.1 +1 +60 B +\d+ +1021 ")

    def test_standard_output_is_live(self):
        self.collector.kill()
        self.collector.wait()
        collector = subprocess.Popen(
            command_in(self.namespace, PODWIRE, "collect", "-o", "-"), stdout=subprocess.PIPE,
            stderr=self.log)
        try:
            self.await_text("listening", 2)
            self.await_start(self.agent(packet(FRAME, 1)))
            data = b""
            while FRAME not in data:
                part = os.read(collector.stdout.fileno(), 65536)
                self.assertTrue(part, self.text())
                data += part
            # Whoever read has gone, so that the collector ends.
            collector.stdout.close()
            self.agents[0].data.sendall(packet(FRAME, 2))
            self.assertEqual(collector.wait(PATIENCE_SECONDS), 0)
        finally:
            collector.kill()
            collector.wait()


class SeveralAgentsTest(CollectorCase):
    """Agents whose packets do not belong together."""

    # The head of Linux cooked capture, and what follows it in Ethernet.
    COOKED = bytes.fromhex("00000001000602000000000188b5000088b5") + bytes(range(46))

    def start(self, *arguments):
        self.collect("--json", *arguments, stdout=subprocess.PIPE)
        self.await_text("listening")

    def finish(self):
        self.end()
        return json.loads(self.collector.stdout.read())

    def talk(self, *agents):
        self.await_start(*agents)
        self.await_text("capture started", len(self.agents))

    def test_a_second_link_type_is_warned_of(self):
        self.start()
        self.talk(self.agent(packet(FRAME, 1), source="127.0.0.2"))
        self.assertNotIn("a second link type", self.text())
        self.talk(self.agent(packet(self.COOKED, 1), source="127.0.0.3", link_type=113))
        self.await_text("a second link type in the file")
        self.await_packets(2)
        warning, = [line for line in self.text().splitlines() if "a second link type" in line]
        for part in (" warning ", "link_type=LINUX_SLL", "first_link_type=EN10MB",
                     "agent=127.0.0.3:", "--split-link-types"):
            self.assertIn(part, warning)
        numbers = self.finish()
        self.assertEqual([agent["link_type"] for agent in numbers["agents"]], ["EN10MB", "LINUX_SLL"])
        self.assertRegex(self.text(), r"AGENT +LINK TYPE +PACKETS ")
        # What the warning says of other programs.
        self.assertEqual(len(self.fields("frame.number")), 2)
        done = run("tcpdump", "-r", self.file, check=False)
        self.assertIn("different from the type of the first interface", done.stderr)

    def test_each_link_type_has_a_file_of_its_own(self):
        self.start("--split-link-types")
        self.assertFalse(self.file.exists())
        self.talk(self.agent(packet(FRAME, 1), source="127.0.0.2"))
        self.talk(self.agent(packet(self.COOKED, 1) * 2, source="127.0.0.3", link_type=113))
        self.talk(self.agent(packet(FRAME, 1) * 3, source="127.0.0.4"))
        names = {"EN10MB": 4, "LINUX_SLL": 2}
        files = {name: self.file.parent / f"out-{name}.pcapng" for name in names}
        self.wait(lambda: all(len(self.fields("frame.number", file=files[name])) == count
                              for name, count in names.items()), "not all packets")
        numbers = self.finish()
        self.assertNotIn("a second link type", self.text())
        self.assertEqual([(entry["link_type"], entry["last_file"], entry["file_bytes"])
                          for entry in numbers["link_types"]],
                         [(name, str(file), file.stat().st_size) for name, file in files.items()])
        self.assertEqual((numbers["files"], numbers["file_bytes"]),
                         (2, sum(file.stat().st_size for file in files.values())))
        for name, count in names.items():
            self.assertIn(f" in {files[name]}\n", self.text())
            done = run("tcpdump", "-nr", files[name])
            # What follows a packet's line is indented.
            self.assertEqual(len(re.findall(r"^\S", done.stdout, re.MULTILINE)), count)
            self.assertIn(f"link-type {name}", done.stderr)

    def test_link_types_rotate_by_themselves(self):
        self.start("--split-link-types", "--rotate-size", "1MiB", "--keep", 2)
        large = b"".join(packet(FRAME * 1000, n) for n in range(60))
        self.talk(self.agent(large, source="127.0.0.2"))
        self.talk(self.agent(packet(self.COOKED, 1), source="127.0.0.3", link_type=113))
        self.await_text("file complete", 2)
        numbers = self.finish()
        cooked, = self.file.parent.glob("out-LINUX_SLL-*.pcapng")
        self.assertEqual(cooked.name, "out-LINUX_SLL-00001.pcapng")
        self.assertEqual(len(self.fields("frame.number", file=cooked)), 1)
        ethernet = sorted(self.file.parent.glob("out-EN10MB-*.pcapng"))
        self.assertEqual(len(ethernet), 2)
        by_type = {entry["link_type"]: entry for entry in numbers["link_types"]}
        self.assertEqual(by_type["EN10MB"]["last_file"], str(ethernet[-1]))
        self.assertIn(f"{by_type['EN10MB']['files']} files, of which 2 are left, the last of them {ethernet[-1]}\n",
                      self.text())

    def test_a_filter_for_ethernet_is_warned_of_where_it_makes_no_sense(self):
        file = pathlib.Path(self.folder.name) / "filter"
        file.write_text(run("tcpdump", "-ddd", "-y", "EN10MB", "udp").stdout)
        self.start("--bpf", file)
        self.talk(self.agent(packet(FRAME, 1), source="127.0.0.2"))
        self.assertNotIn("the filter:", self.text())
        self.talk(self.agent(packet(self.COOKED, 1), source="127.0.0.3", link_type=113))
        self.await_text("no Ethernet frames but LINUX_SLL")
        self.finish()

    def test_agents_behind_one_address_are_told_apart(self):
        """Two that offer an address of their own, and two that offer none."""
        self.start()
        counts = {"10.0.0.5": 1, "10.0.0.6": 2, None: 3}
        for own, count in counts.items():
            self.talk(self.agent(packet(FRAME, 1) * count, own=own))
        self.talk(self.agent(packet(FRAME, 1) * 4))
        self.await_packets(10)
        # They come again in another order, and are known by what they offer.
        for agent in self.agents[:2]:
            agent.close()
        self.await_text("agent gone", 2)
        for own, count in (("10.0.0.6", 5), ("10.0.0.5", 6)):
            self.talk(self.agent(packet(FRAME, 1) * count, own=own))
        self.await_packets(21)
        expected = {"any-eth@127.0.0.1/10.0.0.5": 7, "any-eth@127.0.0.1/10.0.0.6": 7,
                    "any-eth@127.0.0.1": 3, "any-eth@127.0.0.1#2": 4}
        numbers = self.finish()
        self.assertEqual({agent["agent"]: agent["packets"] for agent in numbers["agents"]}, expected)
        names = [name for name, in self.fields("frame.interface_name")]
        self.assertEqual({name: names.count(name) for name in names}, expected)
        for name in expected:
            self.assertIn(f"interface={name}\n", self.text())
        self.assertEqual(
            {(name, text) for name, text in self.fields(
                "frame.interface_name", "frame.interface_description") if "/" in name},
            {(f"any-eth@127.0.0.1/{own}", f"agent at {own}, behind 127.0.0.1")
             for own in ("10.0.0.5", "10.0.0.6")})

    def test_an_address_of_its_own_is_its_name(self):
        self.start()
        self.talk(self.agent(packet(FRAME, 1), own="127.0.0.2", source="127.0.0.2"))
        self.await_packets(1)
        self.assertEqual([agent["agent"] for agent in self.finish()["agents"]],
                         ["any-eth@127.0.0.2"])


def udpstr(frames, most=200):
    """The datagrams into which ExtraHop's daemon would cut the packets."""
    datagrams, body, first = [], b"", None
    for number, frame in enumerate(frames, 1):
        rest = packet(frame, number)[8:]
        if most - len(body) <= 28:
            datagrams, body, first = datagrams + [(first, body)], b"", None
        first = len(body) + 8 if first is None else first
        while rest:
            if len(body) == most:
                datagrams, body, first = datagrams + [(first, body)], b"", None
            count = most - len(body)
            body, rest = body + rest[:count], rest[count:]
    datagrams.append((first, body))
    return [struct.pack("!BBHI", 0, 110, 0xffff if first is None else first, sequence) + body
            for sequence, (first, body) in enumerate(datagrams)]


class DatagramTest(CollectorCase):
    """Packets that come as datagrams."""

    def finish(self):
        self.end()
        return json.loads(self.collector.stdout.read())

    def test_a_stream_of_an_agent_that_dials(self):
        self.collect("--udp", "--json", stdout=subprocess.PIPE)
        self.await_text("listening")
        frames = [FRAME + bytes([n]) * (n * 7 % 300) for n in range(100)]
        datagrams = udpstr(frames)
        agent = self.agent(datagrams[:30] + datagrams[31:])
        self.await_start(agent)
        # Somebody else sends to the same port, and the agent sends what is no datagram of a capture.
        port = agent.data.getpeername()[1]
        stranger = socket_in(self.namespace, kind=socket.SOCK_DGRAM)
        stranger.bind(("127.0.0.9", 0))
        stranger.sendto(packet(FRAME, 1), ("127.0.0.1", port))
        stranger.close()
        agent.data.send(b"nonsense")
        self.await_datagrams()
        self.assertTrue(agent.asked.wait(PATIENCE_SECONDS), "it asks for no statistics")
        [numbers] = self.finish()["agents"]
        self.assertEqual(agent.flags, 7)
        rows = self.fields("frame.cap_len")
        self.assertEqual(numbers["packets"], len(rows))
        self.assertEqual(numbers["packets"] + numbers["lost_packets"], 100)
        self.assertIn(numbers["lost_packets"], range(1, 5))
        self.assertEqual(numbers["lost_datagrams"], 1)
        self.assertEqual(numbers["datagrams_not_understood"], 1)
        self.assertEqual(numbers["datagrams_of_others"], 1)
        self.assertEqual(numbers["dropped_by_agent"], 3)

    def test_datagrams_that_come_late_lose_no_whole_packet(self):
        datagrams = udpstr([FRAME] * 300, most=100)
        self.assertEqual(len(datagrams), 300)
        swapped = [datagrams[number ^ 1] for number in range(300)]
        self.collect("--udp", "--json", stdout=subprocess.PIPE)
        self.await_text("listening")
        self.await_start(self.agent(swapped))
        self.await_datagrams()
        self.await_packets(300)
        [numbers] = self.finish()["agents"]
        self.assertEqual((numbers["packets"], numbers["lost_packets"], numbers["lost_datagrams"]),
                         (300, 0, 0))

    def test_packets_of_an_agent_that_is_dialled(self):
        daemon = self.daemon([packet(FRAME, n) for n in (1, 2, 4)])
        self.collect("--udp", "--json", "--from", "rpcap://127.0.0.1/lo", stdout=subprocess.PIPE)
        self.await_start(daemon)
        self.await_packets(3)
        [numbers] = self.finish()["agents"]
        self.assertTrue(daemon.closed.wait(PATIENCE_SECONDS))
        self.assertEqual((numbers["packets"], numbers["lost_packets"]), (3, 1))
        self.assertEqual((numbers["agent"], numbers["state"]), ("lo@127.0.0.1", "ended"))
        self.assertEqual(len(self.fields("frame.number")), 3)

    def test_garbage_does_no_harm(self):
        daemon = self.daemon([os.urandom(n % 1500) for n in range(3000)] + [packet(FRAME, 1)])
        self.collect("--udp", "--from", "rpcap://127.0.0.1/lo")
        self.await_start(daemon)
        self.await_packets(1)
        self.end()
        self.assertEqual(len(self.fields("frame.number")), 1)


class DialTest(CollectorCase):
    """Agents that wait to be dialled."""

    def test_packets_come_to_the_file(self):
        daemon = self.daemon(packet(FRAME, 1) + packet(FRAME * 1100, 2, length=70000))
        self.collect("--from", "rpcap://127.0.0.1/eth0")
        self.await_start(daemon)
        self.await_packets(2)
        self.assertLess(self.end(), STOP_SECONDS)
        self.assertTrue(daemon.closed.wait(PATIENCE_SECONDS), "no CLOSE")
        self.assertEqual([kind for kind, _ in daemon.requests if kind != 9], [8, 2, 3, 4, 10, 6])
        self.assertEqual(daemon.payloads(8), [bytes(8)])
        self.assertEqual(daemon.payloads(3), [b"eth0"])
        self.assertEqual(daemon.payloads(4)[0][:12], bytes.fromhex("00040000000001f400010000"))
        self.assertEqual(self.fields("frame.interface_name", "frame.cap_len", "frame.len"), [
            ("eth0@127.0.0.1", "60", "60"), ("eth0@127.0.0.1", "66000", "70000")])
        self.assertRegex(self.text(), r"eth0@127.0.0.1 +2 +64\.5 KiB .* ended")

    def test_agents_dial_and_are_dialled_at_once(self):
        daemon = self.daemon(packet(FRAME, 1), port=2999)
        self.collect("--from", "rpcap://localhost:2999", "--listen", PORT)
        self.await_text("listening")
        agent = self.agent(packet(FRAME, 1))
        self.await_start(daemon, agent)
        self.await_packets(2)
        self.end()
        self.assertEqual(sorted(self.fields("frame.interface_name")), [
            ("any-eth@127.0.0.1",), ("eth0@localhost:2999",)])

    def test_over_ipv6(self):
        for number, (udp, data) in enumerate({(): packet(FRAME, 1), ("--udp",): [packet(FRAME, 1)]}
                                             .items()):
            with self.subTest(udp):
                daemon = self.daemon(data, host="::1", port=3000 + number)
                self.collect("--from", f"rpcap://[::1]:{3000 + number}", *udp)
                self.await_start(daemon)
                self.await_packets(1)
                self.end()
                self.assertTrue(daemon.closed.wait(PATIENCE_SECONDS))
                self.assertEqual(self.fields("frame.interface_name"),
                                 [(f"eth0@[::1]:{3000 + number}",)])

    def test_a_data_port_that_refuses(self):
        daemon = self.daemon(refuses=True)
        self.collect("--from", "rpcap://127.0.0.1")
        self.await_text("Connection refused")
        self.wait(lambda: len(daemon.payloads(4)) > 1, "not tried again")
        self.end(code=69)

    def test_a_stream_over_tcp_is_no_capture(self):
        daemon = self.daemon(udpstr([FRAME] * 3)[0])
        self.collect("--from", "rpcap://127.0.0.1")
        self.await_start(daemon)
        self.await_text("use --udp")

    def test_the_password_is_the_right_one(self):
        secret = pathlib.Path(self.folder.name) / "secret"
        secret.write_text("open sesame\nnot this\n")
        login = struct.pack("!HHHH", 1, 0, 6, 11) + b"user@xopen sesame"
        daemon = self.daemon(packet(FRAME, 1), login=login)
        self.collect("--from", "rpcap://user%40x@127.0.0.1", "--password-file", secret)
        self.await_start(daemon)
        self.end()
        self.assertNotIn("sesame", self.text())

    def test_a_wrong_password_is_said_and_tried_again(self):
        daemon = self.daemon(login=b"another")
        environment = dict(os.environ, PODWIRE_COLLECT_PASSWORD="hidden")
        self.collect("--from", "rpcap://user@127.0.0.1", env=environment)
        self.await_text("the peer refused: wrong password (error 18)")
        self.wait(lambda: len(daemon.payloads(8)) > 1, "not tried again")
        self.end(code=69)
        self.assertNotIn("hidden", self.text())

    def test_a_device_that_is_not_there(self):
        self.daemon()
        self.collect("--from", "rpcap://127.0.0.1/eth%37")
        self.await_text("there is no device eth7, the peer offers eth0, lo")

    def test_sampling_snaplen_and_filter_are_asked_for(self):
        text = run("tcpdump", "-ddd", "-y", "EN10MB", "udp port 53").stdout
        lines = text.splitlines()
        steps = [struct.pack("!HBBI", *map(int, line.split())) for line in lines[1:]]
        filters = {"file": text, "line": ",".join(lines)}
        for number, (kind, filter_text) in enumerate(filters.items()):
            with self.subTest(kind):
                file = pathlib.Path(self.folder.name) / "filter"
                file.write_text(filter_text)
                daemon = self.daemon(port=3000 + number)
                self.collect("--from", f"rpcap://127.0.0.1:{3000 + number}", "--sample", "1/10",
                             "--snaplen", 128, "--bpf", file)
                self.await_start(daemon)
                self.assertEqual(daemon.payloads(11), [bytes.fromhex("010000000000000a")])
                start = daemon.payloads(4)[0]
                self.assertEqual(start[:4], bytes.fromhex("00000080"))
                # What it asks for follows what leaves its own connections out.
                kind, _, count = struct.unpack_from("!HHI", start, 12)
                self.assertEqual((kind, len(start)), (1, 20 + 8 * count))
                self.assertTrue(start.endswith(b"".join(steps)))
                self.end()

    def test_a_filter_that_leaves_no_room_for_own_connections_is_noted(self):
        file = pathlib.Path(self.folder.name) / "filter"
        file.write_text("8190\n" + "128 0 0 0\n" * 8189 + "22 0 0 0\n")
        self.daemon(packet(FRAME, 1))
        self.collect("--from", "rpcap://127.0.0.1", "--bpf", file)
        self.await_text("the filter would be too long")
        self.await_packets(1)
        self.end()
        self.assertEqual(self.text().count("would be too long"), 1)

    def test_a_daemon_that_goes_away_and_comes_back(self):
        daemon = self.daemon(packet(FRAME, 1))
        self.collect("--from", "rpcap://127.0.0.1")
        self.await_start(daemon)
        self.await_packets(1)
        daemon.close()
        self.await_text("agent gone")
        self.await_text("Connection refused")
        daemon = self.daemon(packet(FRAME, 1))
        self.await_start(daemon)
        self.await_packets(2)
        self.end()
        self.assertEqual(self.fields("frame.interface_name", "frame.interface_id"),
                         [("eth0@127.0.0.1", "0")] * 2)

    def test_daemons_that_send_garbage_are_dropped_alone(self):
        good = self.daemon(packet(FRAME, 1))
        garbage = [os.urandom(100), b"\x00\x88\x00\x00\x7f\xff\xff\xff", bytes(100), b"HTTP/1.1 400 No"]
        sources = ["--from", "rpcap://127.0.0.1"]
        for number, data in enumerate(garbage):
            self.daemon(garbage=data, port=3000 + number)
            sources += ["--from", f"rpcap://127.0.0.1:{3000 + number}"]
        wrong = self.daemon(bytes.fromhex("00070000ffffffff") + bytes(40), port=4000)
        self.collect(*sources, "--from", "rpcap://127.0.0.1:4000", "--from",
                     "rpcap://nowhere.invalid")
        self.await_start(good, wrong)
        self.await_text("data connection: a message of 4294967295 bytes")
        self.await_text("resolve nowhere.invalid")
        for number in range(len(garbage)):
            self.await_text(f'cannot capture from agent agent=127.0.0.1:{3000 + number}')
        good.data.sendall(packet(FRAME, 2))
        self.await_packets(2)
        self.end()
        self.assertEqual(self.fields("frame.interface_name"), [("eth0@127.0.0.1",)] * 2)

    def test_a_list_is_shown(self):
        self.daemon()
        done = run(*self.command("--list", "--from", "rpcap://127.0.0.1"))
        self.assertRegex(done.stdout, r"DEVICE +DESCRIPTION\n"
                         r"rpcap://127.0.0.1:2002/eth0 +text; 127.0.0.1/8\n")
        done = run(*self.command("--list", "--json", "--from", "rpcap://127.0.0.1", "--from",
                                 "rpcap://127.0.0.1:1"), check=False)
        self.assertEqual(done.returncode, 69)
        good, bad = json.loads(done.stdout)
        self.assertEqual([device["name"] for device in good["devices"]], ["eth0", "lo"])
        self.assertIn("Connection refused", bad["error"])

    def test_what_cannot_be_understood_is_refused(self):
        (pathlib.Path(self.folder.name) / "bad").write_text("2\n6 0 0 1\n21 0 9 1\n")
        cases = [
            (["--from", "http://user:secret@host"], "begins with rpcap://"),
            (["--from", "rpcap://user:secret@fd00::1"], "belongs in brackets"),
            (["--from", "rpcap://user@host"], "--password-file"),
            (["--sample", "10"], "1/N"), (["--keep", "3"], "needs --rotate"),
            (["--rotate-size", "1"], "at least 1MiB"), (["--list"], "needs --from"),
            (["--rotate-time", "1m", "-o", "-"], "standard output cannot be rotated"),
            (["--bpf", self.folder.name + "/bad"], "line 3: instruction 1: jumps past the end"),
            (["--json", "-o", "-"], "standard output is taken"),
            (["--split-link-types", "-o", "-"], "name a file with --output"),
            (["--from", "rpcap://u:secret@h", "--from", "rpcap://h:2002"], "h:2002: it is given twice"),
        ]
        for arguments, text in cases:
            with self.subTest(text):
                done = run(*self.command(*arguments), check=False)
                self.assertEqual(done.returncode, 64, done.stderr)
                self.assertIn(text, done.stderr)
                self.assertNotIn("secret", done.stderr)


class RotationTest(CollectorCase):
    """One file after the other."""

    def files(self):
        return sorted(self.file.parent.glob("out-*.pcapng"))

    def test_by_size(self):
        data = b"".join(packet(FRAME * 20, n) for n in range(1, 5001))
        daemon = self.daemon(data)
        self.collect("--from", "rpcap://127.0.0.1", "--rotate-size", "1MiB", "--json",
                     stdout=subprocess.PIPE)
        self.await_start(daemon)
        self.await_packets(5000)
        self.end()
        files = self.files()
        self.assertGreaterEqual(len(files), 5)
        self.assertEqual(files[0].name, "out-00001.pcapng")
        total = 0
        for file in files:
            self.assertLessEqual(file.stat().st_size, 1 << 20)
            rows = self.fields("frame.interface_name", file=file)
            self.assertTrue(all(row == ("eth0@127.0.0.1",) for row in rows))
            counts = run("capinfos", "-M", str(file)).stdout
            self.assertIn(f"Number of packets:   {len(rows)}", counts)
            total += len(rows)
        self.assertEqual(total, 5000)
        numbers = json.loads(self.collector.stdout.read())
        self.assertEqual(numbers["files"], len(files))
        self.assertEqual(numbers["file_bytes"], sum(file.stat().st_size for file in files))
        self.assertIn("file complete", self.text())

    def test_by_time_and_the_oldest_are_deleted(self):
        daemon = self.daemon(packet(FRAME, 1))
        self.collect("--from", "rpcap://127.0.0.1", "--rotate-time", "1s", "--keep", 2)
        self.await_start(daemon)
        for number in range(2, 5):
            self.await_text(f"out-0000{number - 1}.pcapng")
            daemon.data.sendall(packet(FRAME, number))
        self.wait(lambda: "out-00004" in "".join(map(str, self.files())), "no fourth file")
        self.end()
        self.assertEqual(len(self.files()), 2)
        for file in self.files():
            run("capinfos", str(file))


if __name__ == "__main__":
    unittest.main()
