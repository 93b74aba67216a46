"""A collector and daemons that would capture what they send to it.

PODWIRE names the binary. The daemon is played by hand. It captures at the device by which its packets
leave, in a network namespace of its own.
"""

import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from support.capturing_daemon import CapturingDaemon
from support.commands import run
from support.fake_agents import FRAME, FakeAgent
from support.namespace import (add_namespace, add_wire, command_in, ip_in, listener_in,
                               remove_namespaces, run_in, socket_in)
from support.program import PODWIRE
from support.rpcap import packet
from support.waiting import PATIENCE_SECONDS, wait_until

# What a node and a collector say to each other beside the feed.
TALK_PORT = 4242
TALK_COUNT = 20
# The length of a capture. The collector asks for statistics each second, which is enough of a seed; what
# grows from it does so in milliseconds.
CAPTURE_SECONDS = 1.5


class OwnFeedTest(unittest.TestCase):
    def setUp(self):
        self.prefix = f"of{os.getpid()}-{time.monotonic_ns() % 100000}"
        self.node, self.host, self.router = (f"{self.prefix}{end}" for end in "nhr")
        self.folder = tempfile.TemporaryDirectory()
        self.file = pathlib.Path(self.folder.name) / "out.pcapng"
        self.log = open(pathlib.Path(self.folder.name) / "log", "a+")
        self.daemons, self.collector = [], None

    def tearDown(self):
        if self.collector:
            self.collector.kill()
            self.collector.wait()
        for daemon in self.daemons:
            daemon.close()
        self.log.close()
        self.folder.cleanup()
        remove_namespaces(self.prefix)

    def connect(self):
        """A node and a collector's host on one wire."""
        for name in (self.node, self.host):
            add_namespace(name)
        add_wire(self.host, "eth0", self.node)
        for name, number in ((self.node, 1), (self.host, 2)):
            ip_in(name, "address", "add", f"10.99.0.{number}/24", "dev", "eth0")
            ip_in(name, "address", "add", f"fd99::{number}/64", "dev", "eth0", "nodad")

    def connect_by_router(self):
        """The same, with a router between them that hides the collector's address from the node."""
        for name in (self.node, self.host, self.router):
            add_namespace(name)
        add_wire(self.router, "node0", self.node)
        add_wire(self.router, "host0", self.host)
        for name, device, address in ((self.node, "eth0", "10.98.0.1"), (self.router, "node0", "10.98.0.9"),
                                      (self.host, "eth0", "10.99.0.2"), (self.router, "host0", "10.99.0.9")):
            ip_in(name, "address", "add", f"{address}/24", "dev", device)
        ip_in(self.host, "route", "add", "default", "via", "10.99.0.9")
        run_in(self.router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        run_in(self.router, "nft", "add table ip nat; add chain ip nat post { type nat hook postrouting "
               "priority 100; }; add rule ip nat post oif node0 masquerade")

    def daemon(self, *arguments, **keywords):
        daemon = CapturingDaemon(self.node, *arguments, **keywords)
        self.daemons.append(daemon)
        return daemon

    def collect(self, *arguments):
        self.collector = subprocess.Popen(
            command_in(self.host, PODWIRE, "collect", "-o", self.file, *arguments), stderr=self.log)

    def text(self):
        self.log.seek(0)
        return self.log.read()

    def await_text(self, text, count=1):
        wait_until(lambda: self.text().count(text) >= count,
                   lambda: f"not {count} times {text!r} in {self.text()}")

    def talk(self, address):
        """Packets between the same two hosts, which are no feed."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        speaker = socket_in(self.host, family, socket.SOCK_DGRAM)
        listener = socket_in(self.node, family, socket.SOCK_DGRAM)
        listener.bind(("", TALK_PORT))
        listener.settimeout(PATIENCE_SECONDS)
        for _ in range(TALK_COUNT):
            speaker.sendto(b"hello", (address, TALK_PORT))
            listener.recv(64)
        speaker.close()
        listener.close()

    def await_talk(self, count):
        """Waits until the file has so many packets of the talk."""
        wait_until(lambda: self.file.read_bytes().count(b"hello") >= count,
                   lambda: f"{self.file.read_bytes().count(b'hello')} packets of {count}")

    def end(self):
        self.collector.send_signal(signal.SIGTERM)
        self.assertEqual(self.collector.wait(PATIENCE_SECONDS), 0, self.text())

    def check(self, talk_count, address):
        """Captures for a while; the file has all of the talk, and nothing of the feed."""
        self.talk(address)
        time.sleep(CAPTURE_SECONDS)
        self.await_talk(talk_count)
        self.end()
        done = run("tshark", "-r", str(self.file), "-Y", "tcp or udp or ipv6.fraghdr or ip.frag_offset > 0",
                   "-T", "fields", "-e", "udp.dstport")
        ports = done.stdout.split("\n")[:-1]
        self.assertEqual(ports.count(str(TALK_PORT)), talk_count, self.text())
        self.assertEqual(len(ports), talk_count, f"{len(ports)} packets of\n{self.text()}")

    def test_a_daemon_that_is_dialled(self):
        self.connect()
        port = 3000
        for address in ("10.99.0.1", "fd99::1"):
            for device in ("eth0", "any"):
                for udp in ((), ("--udp",)):
                    with self.subTest(address=address, device=device, udp=udp):
                        port += 1
                        self.daemon(address, port=port)
                        place = f"[{address}]" if ":" in address else address
                        self.collect("--from", f"rpcap://{place}:{port}/{device}", *udp)
                        self.await_text("capture started", port - 3000)
                        self.check(TALK_COUNT, address)

    def test_what_goes_on_to_readers(self):
        """To one that connects and to one that is dialled, both beyond the wire that is captured."""
        self.connect()
        listener = listener_in(self.node, "10.99.0.1", 4000)
        self.collect("--listen", "2003", "--serve", "10.99.0.2:57012", "--allow", "10.99.0.0/24",
                     "--push", "10.99.0.1:4000")
        self.await_text("serving packets")
        reader = socket_in(self.node)
        reader.connect(("10.99.0.2", 57012))
        self.await_text("reader connected", 2)
        self.daemon("10.99.0.1", collector=("10.99.0.2", 2003))
        self.await_text("capture started")
        pushed, _ = listener.accept()
        self.check(TALK_COUNT, "10.99.0.1")
        for end in (reader, pushed):
            with end.makefile("rb") as stream:
                self.assertEqual(stream.read().count(b"hello"), TALK_COUNT)
        for end in (reader, pushed, listener):
            end.close()

    def test_a_daemon_that_dials(self):
        self.connect()
        for count, (address, udp) in enumerate([("10.99.0.1", ()), ("fd99::1", ("--udp",))], 1):
            with self.subTest(address):
                self.collect(*udp)
                self.await_text("listening", count)
                self.daemon(address, collector=(address[:-1] + "2", 2003))
                self.await_text("capture started", count)
                self.check(TALK_COUNT, address)

    def test_a_daemon_that_sends_long_datagrams(self):
        """They are fragments, of which only the first has ports."""
        self.connect()
        self.daemon("10.99.0.1")
        self.collect("--from", "rpcap://10.99.0.1", "--udp")
        self.await_text("capture started")
        run_in(self.host, "ping", "-c", "5", "-i", "0.2", "-s", "1472", "10.99.0.1")
        self.check(TALK_COUNT, "10.99.0.1")

    def test_two_devices_of_one_host_do_not_capture_each_other(self):
        self.connect()
        for port in (3000, 3001):
            self.daemon("10.99.0.1", port=port)
        self.collect("--from", "rpcap://10.99.0.1:3000", "--from", "rpcap://10.99.0.1:3001",
                     "--from", "rpcap://10.99.0.1:3001/eth0")
        self.await_text("capture started", 3)
        # The first ones are told of the last one within a second.
        wait_until(lambda: sum(len(daemon.filters) for daemon in self.daemons) >= 5,
                   lambda: f"no other filters: {self.text()}")
        self.talk("10.99.0.1")
        time.sleep(CAPTURE_SECONDS)
        self.await_talk(3 * TALK_COUNT)
        self.end()
        self.assertNotIn("its own feed", self.text())
        done = run("tshark", "-r", str(self.file), "-Y", f"udp.port == {TALK_PORT}")
        self.assertEqual(len(done.stdout.splitlines()), 3 * TALK_COUNT)
        # What passed before is little.
        self.assertLess(self.file.stat().st_size, 100_000, self.text())

    def test_a_filter_still_holds(self):
        self.connect()
        self.daemon("10.99.0.1")
        file = pathlib.Path(self.folder.name) / "filter"
        file.write_text(run("tcpdump", "-ddd", "-y", "EN10MB", "tcp or icmp").stdout)
        self.collect("--from", "rpcap://10.99.0.1", "--bpf", file)
        self.await_text("capture started")
        self.check(0, "10.99.0.1")

    def check_loop(self, *arguments, daemon):
        self.await_text("its own feed")
        self.assertEqual(self.text().count("capture started"), 1)
        time.sleep(CAPTURE_SECONDS)
        self.assertEqual(daemon.session_count, 1, self.text())
        self.assertRegex(self.text(), r" warning agent gone .*remedy=.*filter")
        self.await_rest()
        self.end()

    def await_rest(self):
        """Waits until the file grows no more. How large it is by then depends on how fast the machine is."""
        def is_at_rest():
            size = self.file.stat().st_size
            time.sleep(1)
            return self.file.stat().st_size < size + (1 << 20)

        wait_until(is_at_rest, "the file grows on")

    def test_a_loop_behind_translated_addresses_is_ended(self):
        self.connect_by_router()
        daemon = self.daemon("10.98.0.1")
        self.collect("--from", "rpcap://10.98.0.1")
        self.check_loop(daemon=daemon)

    def test_a_loop_of_datagrams_past_a_filter_that_is_ignored_is_ended(self):
        self.connect()
        daemon = self.daemon("10.99.0.1", obeys=False)
        self.collect("--from", "rpcap://10.99.0.1", "--udp")
        self.check_loop(daemon=daemon)

    def test_a_loop_is_ended_while_other_agents_come_and_go(self):
        self.connect_by_router()
        daemon = self.daemon("10.98.0.1")
        self.collect("--listen", "0.0.0.0:2003", "--from", "rpcap://10.98.0.1")
        self.await_text("listening")
        ends, count = threading.Event(), 0

        def come_and_go():
            nonlocal count
            while not ends.wait(0.2):
                agent = FakeAgent(self.host, packet(FRAME, 1), source="127.0.0.2")
                count += agent.started.wait(PATIENCE_SECONDS)
                agent.close()

        thread = threading.Thread(target=come_and_go)
        thread.start()
        try:
            self.await_text("its own feed")
        finally:
            ends.set()
            thread.join()
        self.assertGreater(count, 2)
        self.assertEqual(len(daemon.filters), 1)
        self.await_rest()

    def test_a_daemon_that_seems_to_leave_its_feed_out_is_told(self):
        self.connect()
        stream = b"every pod of this node, each packet once ;preselected"
        for count, (mark, filter_count) in enumerate([(b";preselected", 1), (stream, 2)], 1):
            with self.subTest(mark):
                daemon = self.daemon("10.99.0.1", port=3000 + count, mark=mark)
                # What is in the file has been captured lately.
                self.collect("--from", f"rpcap://10.99.0.1:{3000 + count}", "--order", "off")
                self.await_text("capture started", count)
                wait_until(lambda: len(daemon.filters) >= filter_count, self.text)
                time.sleep(CAPTURE_SECONDS)
                size = self.file.stat().st_size
                time.sleep(1)
                self.assertLess(self.file.stat().st_size, size + 10_000)
                self.end()
                self.assertEqual(len(daemon.filters), filter_count)
                self.assertEqual(self.text().count("capture started"), count)


if __name__ == "__main__":
    unittest.main()
