"""The order and the names in what the collector writes, as tshark, capinfos and reordercap see them.

PODWIRE names the binary. Agents are played by hand, over loopback in a network namespace.
"""

import fcntl
import json
import os
import pathlib
import pty
import re
import signal
import struct
import subprocess
import termios
import time
import unittest

from support.collecting import CollectorCase
from support.commands import run
from support.fake_agents import FakeAgent, FakeDaemon
from support.program import PODWIRE
from support.rpcap import packet, reply
from support.namespace import command_in, run_in, socket_in
from support.waiting import PATIENCE_SECONDS, wait_until

# The port of --serve.
SERVED = 57012
STREAM = ("any-eth", "every pod of this node, each packet once ;preselected")


def frame(source, target, number=0):
    """A UDP packet without a checksum."""
    udp = struct.pack("!HHHH", 40000, 9, 12, 0) + struct.pack("!I", number)
    addresses = b"".join(bytes(map(int, address.split("."))) for address in (source, target))
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + addresses
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xffff) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + head[12:]
    return bytes.fromhex("020000000002" "020000000001" "0800") + head + udp


def record(number, micros, source="10.244.1.2"):
    """A packet with a time in microseconds since 1970."""
    return packet(frame(source, "10.244.9.9", number), number, micros // 10**6, micros % 10**6)


def devices(*rows):
    """A list of devices, by names and descriptions."""
    return reply(2, b"".join(struct.pack("!HHIHH", len(name), len(text.encode()), 22, 0, 0) + name.encode()
                             + text.encode() for name, text in rows), value=len(rows))


class NamingAgent(FakeAgent):
    """An agent whose devices are `rows`."""

    rows = [STREAM]

    def answer(self, kind, payload):
        if kind == 2:
            self.control.sendall(devices(*self.rows))
        else:
            super().answer(kind, payload)


class NamingDaemon(FakeDaemon):
    """A daemon whose devices are `rows`."""

    rows = [STREAM]

    def answer(self, control, peer, kind, payload):
        if kind == 2:
            control.sendall(devices(*self.rows))
        else:
            super().answer(control, peer, kind, payload)


class OrderTest(CollectorCase):
    """Packets of two agents, whose times lie between each other's."""

    def start(self, *arguments):
        self.collect(*arguments)
        self.await_text("listening")

    def records(self, count=400):
        """What each of two agents sends: blocks whose stamps rise, and which overlap."""
        now = int(time.time() * 10**6)
        blocks = [[now + block % 4 * 100 + place * 50 for place in range(20)] for block in range(count // 20)]
        stamps = [stamp for block in blocks for stamp in block]
        return [b"".join(record(number, stamp + shift) for number, stamp in enumerate(stamps, 1))
                for shift in (0, 7)]

    def is_ordered(self):
        text = run("capinfos", "-o", str(self.file)).stdout
        return re.search(r"Strict time order: +(\w+)", text)[1] == "True"

    def record_both(self, *arguments):
        self.start(*arguments)
        first, second = self.records()
        agents = [self.agent(first), self.agent(second, source="127.0.0.2")]
        self.await_start(*agents)
        self.await_packets(800)
        self.end()

    def test_packets_are_in_the_order_of_their_stamps(self):
        self.record_both("--order", "5s")
        self.assertTrue(self.is_ordered(), self.text())
        self.assertNotIn("came later", self.text())
        sorted_file = pathlib.Path(self.folder.name) / "sorted.pcapng"
        done = run("reordercap", str(self.file), str(sorted_file))
        self.assertIn("800 frames, 0 out of order", done.stdout + done.stderr)
        # All interfaces come before the first packet.
        kinds = self.block_kinds()
        self.assertEqual(kinds[:3], [0x0a0d0d0a, 1, 1], kinds[:5])

    def block_kinds(self):
        data, offset, kinds = self.file.read_bytes(), 0, []
        while offset < len(data):
            kind, length = struct.unpack_from("<II", data, offset)
            kinds.append(kind)
            offset += length
        return kinds

    def test_without_an_order_packets_are_as_they_came(self):
        self.record_both("--order", "off")
        self.assertFalse(self.is_ordered())

    def test_who_comes_late_is_written_and_counted(self):
        self.start("--order", "10ms", "--json")
        now = int(time.time() * 10**6)
        agent = self.agent(record(1, now))
        self.await_start(agent)
        self.await_packets(1)
        # A stamp of ten seconds ago, one of no time at all, and one that is far ahead.
        late = self.agent(record(1, now - 10**7) + record(2, 0) + packet(
            frame("10.244.1.2", "10.244.9.9"), 3, 2**32 - 1, 999_999), source="127.0.0.2")
        self.await_start(late)
        self.await_packets(4)
        agent.data.sendall(record(2, int(time.time() * 10**6)))
        self.await_packets(5)
        self.end()
        self.assertRegex(self.text(), "packets? came later than --order waits")
        self.assertIn("1 packet had a time ahead of this host's clock", self.text())

    def test_an_order_that_makes_no_sense_is_refused(self):
        for text in ("0ms", "11s", "x", "-5ms", "200us"):
            done = run_in(self.namespace, PODWIRE, "collect", f"--order={text}", check=False)
            self.assertEqual(done.returncode, 64, text)
            self.assertIn("it takes a time from 1ms to 10s", done.stderr)


class NameTest(CollectorCase):
    """Names that agents say, in files that tshark reads and beside them."""

    def setUp(self):
        super().setUp()
        self.inventory = pathlib.Path(self.folder.name) / "inventory"

    def naming_agent(self, rows, data, **keywords):
        class Agent(NamingAgent):
            pass

        Agent.rows = [STREAM, *rows]
        agent = Agent(self.namespace, data, **keywords)
        self.agents.append(agent)
        return agent

    def hosts(self):
        """The addresses and names of the inventory's hosts, without those that are gone."""
        path = self.inventory / "hosts"
        lines = path.read_text().splitlines() if path.exists() else []
        return dict(line.split("\t")[:2] for line in lines if not line.startswith("#"))

    def test_names_are_in_the_file_and_beside_it(self):
        self.collect("--inventory", self.inventory)
        self.await_text("listening")
        now = int(time.time() * 10**6)
        rows = [("veth1", "the pod shop/web-1 at 10.244.1.2, fd00::2"), ("veth2", "the pod shop/db at 10.244.1.3"),
                ("veth3", "the pod shop/e\x1b[2Jvil at 10.244.1.4"), ("veth4", "the pod at 10.244.1.5")]
        self.await_start(self.naming_agent(rows, record(1, now)))
        self.wait(lambda: self.hosts() == {
            "10.244.1.2": "web-1.shop", "10.244.1.3": "db.shop", "fd00::2": "web-1.shop"}, "no names")
        # Another agent may not name what is not its own.
        liar = self.naming_agent([("veth1", "the pod evil/x at 10.244.1.2"), ("veth2", "the pod a/b at 10.244.2.2")],
                                 record(2, int(time.time() * 10**6), "10.244.2.2"), source="127.0.0.2")
        self.await_start(liar)
        self.wait(lambda: self.hosts().get("10.244.2.2") == "b.a", "no second agent's names")
        self.await_packets(2)
        self.end()
        self.assertEqual(self.hosts()["10.244.1.2"], "web-1.shop")
        done = run("tshark", "-N", "n", "-r", str(self.file), "-T", "fields", "-e", "ip.src_host")
        self.assertEqual(done.stdout.split(), ["web-1.shop", "b.a"])
        objects = [json.loads(line) for line in (self.inventory / "pods.ndjson").read_text().splitlines()]
        self.assertEqual({(row["ip"], row["pod"], row["namespace"], row["agent"]) for row in objects}, {
            ("10.244.1.2", "web-1", "shop", "127.0.0.1"), ("fd00::2", "web-1", "shop", "127.0.0.1"),
            ("10.244.1.3", "db", "shop", "127.0.0.1"), ("10.244.2.2", "b", "a", "127.0.0.2")})
        table = (self.inventory / "pods.tsv").read_text().splitlines()
        self.assertEqual(table[0], "#fields\tip\tpod\tnamespace\tagent\tfrom_time\tto_time")
        self.assertEqual({len(line.split("\t")) for line in table[1:]}, {6})

    def test_names_of_pods_that_come_later(self):
        self.collect("--inventory", self.inventory)
        self.await_text("listening")
        agent = self.naming_agent([("veth1", "the pod shop/web-1 at 10.244.1.2")],
                                  record(1, int(time.time() * 10**6)))
        self.await_start(agent)
        self.wait(lambda: self.hosts() == {"10.244.1.2": "web-1.shop"}, "no names")
        # Statistics are asked for all the time as well.
        type(agent).rows = [STREAM, ("veth2", "the pod shop/web-2 at 10.244.1.3")]
        self.wait(lambda: self.hosts() == {"10.244.1.3": "web-2.shop"}, "no other names")
        self.end()

    def test_readers_over_tcp_get_names(self):
        self.collect("--inventory", self.inventory, "--serve", "--serve-format", "pcapng")
        self.await_text("serving packets")
        agent = self.naming_agent([("veth1", "the pod shop/web-1 at 10.244.1.2")],
                                  record(1, int(time.time() * 10**6)))
        self.await_start(agent)
        self.wait(self.hosts, "no names")
        with socket_in(self.namespace) as reader:
            reader.settimeout(PATIENCE_SECONDS)
            reader.connect(("127.0.0.1", SERVED))
            self.await_text("reader connected")
            agent.data.sendall(record(2, int(time.time() * 10**6)))
            self.await_packets(2)
            self.end()
            got = b"".join(iter(lambda: reader.recv(1 << 16), b""))
        read = pathlib.Path(self.folder.name) / "read.pcapng"
        read.write_bytes(got)
        done = run("tshark", "-N", "n", "-r", str(read), "-T", "fields", "-e", "ip.src_host")
        self.assertEqual(set(done.stdout.split()), {"web-1.shop"})

    def test_names_can_be_left_out(self):
        accept = pathlib.Path(self.folder.name) / "accept"
        accept.write_text("1\n6 0 0 262144\n")
        self.collect("--names", "off", "--bpf", accept)
        self.await_text("listening")
        self.await_start(self.naming_agent([("v", "the pod shop/web at 10.244.1.2")],
                                           record(1, int(time.time() * 10**6))))
        self.await_packets(1)
        self.end()
        self.assertNotIn(b"web.shop", self.file.read_bytes())
        # The interface says what was asked for.
        done = run("tshark", "-r", str(self.file), "-T", "fields", "-e", "frame.interface_description")
        self.assertEqual(done.stdout, "agent at 127.0.0.1; a filter of 1 instruction\n")

    def test_a_pod_is_captured_as_soon_as_an_agent_has_it(self):
        class Daemon(NamingDaemon):
            rows = [STREAM, ("veth1", "the pod shop/other at 10.244.1.3")]

        daemon = Daemon(self.namespace, record(1, int(time.time() * 10**6)))
        self.agents.append(daemon)
        self.collect("--from", "rpcap://127.0.0.1", "--pod", "shop/web")
        self.await_text("it has no pod shop/web yet")
        Daemon.rows = [STREAM, ("veth7", "the pod shop/web at 10.244.1.2, captured inside")]
        wait_until(daemon.started.is_set, self.text)
        self.assertEqual(daemon.payloads(3), [b"veth7"])
        self.await_packets(1)
        self.end()
        # The file says whose edge it was.
        done = run("tshark", "-r", str(self.file), "-T", "fields", "-e", "frame.interface_name",
                   "-e", "frame.interface_description")
        self.assertEqual(done.stdout, "veth7@127.0.0.1\tthe pod shop/web at 10.244.1.2, captured inside; "
                                      "agent at 127.0.0.1\n")

    def test_a_pod_that_no_agent_has_had_is_the_reason_at_the_end(self):
        class Daemon(NamingDaemon):
            rows = [STREAM, ("veth1", "the pod shop/other at 10.244.1.3")]

        self.agents.append(Daemon(self.namespace))
        self.collect("--from", "rpcap://127.0.0.1", "--pod", "shop/web")
        self.await_text("it has no pod shop/web yet")
        self.end(69)
        self.assertRegex(self.text(), r'cannot capture from agent .*reason="it has no pod shop/web yet"')

    def test_what_names_no_pod_is_refused(self):
        for arguments, text in (
                (["--pod", "web", "--from", "rpcap://127.0.0.1"], "it takes NAMESPACE/NAME"),
                (["--pod", "shop/web"], "it takes --from"),
                (["--pod", "shop/web", "--from", "rpcap://127.0.0.1/eth0"], "names a device already"),
                (["--names", "maybe"], "it takes on or off"),
                (["--names", "off", "--inventory", "x"], "leaves it empty")):
            done = run_in(self.namespace, PODWIRE, "collect", *arguments, check=False)
            self.assertEqual(done.returncode, 64, arguments)
            self.assertIn(text, done.stderr)


class FlowsTest(CollectorCase):
    """Who talks to whom while agents send: on a terminal, and in a file."""

    SOURCES = [f"10.244.1.{number}" for number in range(2, 32)]

    def agent(self, data):
        class Agent(NamingAgent):
            rows = [STREAM, ("veth1", "the pod shop/0-web at 10.244.1.2")]

        agent = Agent(self.namespace, data)
        self.agents.append(agent)
        return agent

    def data(self):
        now = int(time.time() * 10**6)
        return b"".join(record(number, now, source) for number, source in enumerate(self.SOURCES * 2, 1))

    def test_a_file_has_what_top_says_of_the_packets(self):
        flows = pathlib.Path(self.folder.name) / "flows.ndjson"
        self.collect("--flows", flows)
        self.await_text("listening")
        self.assertEqual(flows.read_text(), "")
        self.await_start(self.agent(self.data()))
        self.await_packets(60)
        self.end()
        rows = [json.loads(line) for line in flows.read_text().splitlines()]
        self.assertEqual({row["client"] for row in rows}, set(self.SOURCES))
        self.assertEqual({(row["client_packets"], row["port"], row["protocol"]) for row in rows}, {(2, 9, "udp")})
        self.assertEqual([row["client_name"] for row in rows if row["client"] == "10.244.1.2"], ["0-web.shop"])
        self.assertEqual(rows, json.loads(run(PODWIRE, "top", self.file, "--json").stdout)["conversations"])

    def test_a_file_that_cannot_be_made_ends_it(self):
        done = run_in(self.namespace, PODWIRE, "collect", "--flows", "/nowhere/flows", check=False)
        self.assertEqual(done.returncode, 71)
        self.assertIn("/nowhere/flows", done.stderr)

    def test_a_terminal_shows_as_much_as_fits_its_window(self):
        rows, columns = 9, 60
        terminal, inside = pty.openpty()
        self.addCleanup(os.close, terminal)
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        # Beside a program that reads a pipe nothing would be drawn.
        output = pathlib.Path(self.folder.name) / "top"
        with open(output, "wb") as file:
            self.collector = subprocess.Popen(
                command_in(self.namespace, PODWIRE, "top", "--sort", "client"), stdout=file, stderr=inside,
                env={**os.environ, "TERM": "xterm"})
        os.close(inside)
        shown = ""

        def shows(text, count=1):
            nonlocal shown
            shown += os.read(terminal, 1 << 16).decode()
            return shown.count(text) >= count

        wait_until(lambda: shows("waiting for agents"), lambda: shown)
        self.await_start(self.agent(self.data()))
        wait_until(lambda: shows("30 conversations", 4), lambda: shown)
        self.collector.send_signal(signal.SIGINT)
        self.assertEqual(self.collector.wait(PATIENCE_SECONDS), 0)
        result = output.read_text()
        self.assertIn("60 packets, 30 conversations", result)
        self.assertIn("0-web.shop", result)
        # What follows on a way up is a table, until the next one.
        tables = [re.sub("\x1b\\[[?0-9;]*[A-Za-z]|\r", "", part).split("\n")
                  for part in re.split("\x1b\\[\\d+F", shown)]
        tables = [lines for lines in tables if "30 conversations" in lines[0]]
        self.assertTrue(tables)
        for lines in tables[:-1]:
            self.assertEqual(len(lines), rows, "with an empty one, where the cursor is")
            self.assertLessEqual(max(map(len, lines)), columns)
            self.assertTrue(lines[2].startswith("0-web.shop "), lines)

    def test_agents_and_a_file_exclude_each_other(self):
        for arguments in (("--from", "rpcap://127.0.0.1"), ("--listen", "2003")):
            done = run(PODWIRE, "top", "x.pcap", *arguments, check=False)
            self.assertEqual(done.returncode, 64, arguments)
            self.assertIn("give a file, or agents", done.stderr)


if __name__ == "__main__":
    unittest.main()
