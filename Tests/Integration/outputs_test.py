"""What the collector passes on beside its file, to the programs that take it, and to some that do harm.

PODWIRE names the binary. Agents are played by hand, over loopback in a network namespace.
"""

import json
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import unittest

from support import captures
from support.collecting import CollectorCase
from support.commands import run
from support.fake_agents import FRAME
from support.namespace import command_in, listener_in, run_in, socket_in
from support.rpcap import packet
from support.waiting import PATIENCE_SECONDS

SERVED = 57012
# A datagram of 4 bytes from 10.0.0.1 to 10.0.0.2.
DATAGRAM = bytes.fromhex(
    "02000000000a02000000000b0800" "450000200001000040110000" "0a0000010a000002"
    "00070007000c0000" "61626364")


def send(agent, count, frame=DATAGRAM, first=2):
    """Has an agent send packets, each with a time of its own."""
    agent.data.sendall(b"".join(packet(frame, number, micros=number % 1_000_000)
                                for number in range(first, first + count)))


def read_exactly(reader, count):
    """As many bytes as are asked for, or all until the end of the stream."""
    parts = []
    while count > 0 and (part := reader.recv(min(count, 1 << 20))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


class OutputsCase(CollectorCase):
    """A collector with outputs, and programs that read there."""

    def begin(self, *arguments, link_type=1):
        """Starts a collector with an agent, which has sent a packet."""
        # What a reader gets is then what comes while it is there.
        self.collect("--json", "--order", "off", *arguments, stdout=subprocess.PIPE)
        self.await_text("listening")
        agent = self.agent(packet(DATAGRAM, 1), link_type=link_type)
        self.await_start(agent)
        self.await_text("capture started")
        self.await_packets(1)
        return agent

    def report(self):
        """Ends the collector, and returns what it says of its outputs, by their kinds."""
        self.end()
        outputs = json.loads(self.collector.stdout.read())["outputs"]
        return {output["output"]: output for output in outputs}

    def connect(self, source="127.0.0.1", port=SERVED, seconds=PATIENCE_SECONDS):
        """A reader, which waits for so long for each packet.

        The descriptor of one that does not wait for ever does not block, which programs that have it as
        their standard input do not expect.
        """
        reader = socket_in(self.namespace)
        self.addCleanup(reader.close)
        reader.settimeout(seconds)
        reader.bind((source, 0))
        reader.connect(("127.0.0.1", port))
        return reader

    def start(self, *words, stdin=None):
        """Starts a program, whose output goes to a file."""
        output = tempfile.TemporaryFile()
        self.addCleanup(output.close)
        process = subprocess.Popen(
            command_in(self.namespace, *words), stdin=stdin, stdout=output,
            stderr=subprocess.STDOUT)
        process.output = output
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    @staticmethod
    def output_of(process):
        """What a program has said that ends by itself."""
        process.wait(PATIENCE_SECONDS)
        process.output.seek(0)
        return process.output.read().decode(errors="replace")

    def read_to_end(self, reader):
        """The packets that a reader gets until the collector ends."""
        with open(f"{self.folder.name}/read", "wb") as file:
            while part := reader.recv(1 << 16):
                file.write(part)
        return captures.read(file.name)

    def await_readers(self, count):
        self.await_text("reader connected", count)


class ReaderTest(OutputsCase):
    """Programs that connect."""

    def test_wireshark_reads_pcap(self):
        self.check_wireshark("pcap")

    def test_wireshark_reads_pcapng(self):
        self.check_wireshark("pcapng")

    def check_wireshark(self, name):
        agent = self.begin("--serve", "--serve-format", name)
        file = f"{self.folder.name}/shark.pcapng"
        shark = self.start("tshark", "-i", f"TCP@127.0.0.1:{SERVED}", "-c", "100", "-w", file)
        self.await_readers(1)
        send(agent, 100)
        self.output_of(shark)
        served = self.report()["serve"]
        self.assertEqual((served["packets"], served["lost"]), (100, 0), served)
        self.assertEqual(captures.read(file), captures.read(self.file)[1:])
        names = {row[0] for row in self.fields("frame.interface_name", file=file)}
        if name == "pcapng":
            self.assertEqual(names, {"any-eth@127.0.0.1"})

    def test_programs_read_it_from_standard_input(self):
        agent = self.begin("--serve", str(SERVED))
        readers = self.connect(seconds=None), self.connect(seconds=None)
        dump = self.start("tcpdump", "-nr", "-", stdin=readers[0].fileno())
        replay = self.start("tcpreplay", "-i", "lo", "--topspeed", "-", stdin=readers[1].fileno())
        for reader in readers:
            reader.close()
        self.await_readers(2)
        send(agent, 100)
        self.await_packets(101)
        served = self.report()["serve"]
        self.assertEqual((served["packets"], served["lost"]), (200, 0), served)
        self.assertEqual(self.output_of(dump).count("10.0.0.1.7 > 10.0.0.2.7: UDP, length 4"), 100)
        self.assertRegex(self.output_of(replay), r"Actual: 100 packets \(4600 bytes\)")

    def test_a_reader_that_stops_loses_its_own_packets(self):
        agent = self.begin("--serve")
        stopped = self.start("tcpdump", "-nr", "-", "-w", "/dev/null",
                             stdin=self.connect(seconds=None).fileno())
        self.await_readers(1)
        stopped.send_signal(signal.SIGSTOP)
        reader = self.connect()
        self.await_readers(2)
        frame, step, count = DATAGRAM + bytes(60_000), 50, 600
        read_exactly(reader, 24)
        # Each step is far less than waits for a reader that is a little late.
        for first in range(2, 2 + count, step):
            send(agent, step, frame, first)
            read_exactly(reader, step * (16 + len(frame)))
        self.await_packets(1 + count)
        served = self.report()["serve"]
        reasons = served["reasons"]
        self.assertEqual(list(reasons), ["reader too slow"])
        self.assertGreater(reasons["reader too slow"], 0)
        self.assertEqual(served["packets"] + served["lost"], 2 * count)
        self.assertEqual(len(captures.read(self.file)), 1 + count)

    def test_readers_have_64_places(self):
        agent = self.begin("--serve")
        readers = [self.connect() for _ in range(64)]
        self.await_readers(64)
        self.assertEqual(self.connect().recv(1), b"")
        self.await_text("there are 64 readers")
        # One that is gone leaves its place.
        readers.pop().close()
        send(agent, 1)
        self.await_text("reader gone")
        last = self.connect()
        self.await_readers(65)
        send(agent, 1, first=3)
        self.await_packets(3)
        self.assertEqual(self.report()["serve"]["readers"],
                         {"present": 64, "connected": 65, "refused": 1})
        self.assertEqual(len(self.read_to_end(last)), 1)
        self.assertEqual(len(self.read_to_end(readers[0])), 2)

    def test_readers_that_speak_or_half_close(self):
        agent = self.begin("--serve")
        half, talkative = self.connect(), self.connect()
        half.shutdown(socket.SHUT_WR)
        with self.assertRaises(OSError):
            for _ in range(10_000):
                talkative.sendall(bytes(4096))
        self.await_text("readers have nothing to say")
        send(agent, 3)
        self.await_packets(4)
        self.end()
        self.assertEqual(len(self.read_to_end(half)), 3)

    def test_who_may_read_beyond_this_host(self):
        run_in(self.namespace, "ip", "address", "add", "192.0.2.1/24", "dev", "lo")
        self.collect("--serve", "192.0.2.1:57012", "--allow", "192.0.2.0/28,2001:db8::/32")
        self.await_text("serving packets")
        self.assertNotIn("anybody who reaches", self.text())
        stranger = socket_in(self.namespace)
        self.addCleanup(stranger.close)
        run_in(self.namespace, "ip", "address", "add", "192.0.2.77/24", "dev", "lo")
        stranger.bind(("192.0.2.77", 0))
        stranger.connect(("192.0.2.1", SERVED))
        self.await_text("--allow does not name its address")
        self.end()
        self.collect("--serve", "192.0.2.1:57012")
        self.await_text("anybody who reaches the port can read all packets")
        self.end()

    def test_a_port_that_is_taken(self):
        listener = listener_in(self.namespace, "127.0.0.1", SERVED)
        self.addCleanup(listener.close)
        self.collect("--serve")
        self.assertEqual(self.collector.wait(PATIENCE_SECONDS), 71, self.text())
        self.assertIn("--serve: bind 127.0.0.1:57012: Address already in use", self.text())
        # Nothing is emptied for nothing.
        self.assertFalse(self.file.exists())

    def test_packets_of_a_second_link_type_are_counted(self):
        agent = self.begin("--serve")
        reader = self.connect()
        self.await_readers(1)
        other = self.agent(packet(FRAME, 1), source="127.0.0.2", link_type=113)
        self.await_start(other)
        self.await_packets(2)
        send(agent, 1)
        self.await_packets(3)
        self.assertEqual(self.report()["serve"]["reasons"], {"other link type": 1})
        self.assertEqual(len(self.read_to_end(reader)), 1)


class PushTest(OutputsCase):
    """Listeners that are dialled."""

    def test_a_listener_that_comes_and_goes(self):
        agent = self.begin("--push", "127.0.0.1:4000")
        self.await_text("reader not reached")
        send(agent, 1)
        self.await_packets(2)
        listener = listener_in(self.namespace, "127.0.0.1", 4000)
        self.addCleanup(listener.close)
        count = 2
        for round_number in (1, 2):
            reader, _ = listener.accept()
            self.await_readers(round_number)
            send(agent, 1, first=10 * round_number)
            count += 1
            self.await_packets(count)
            self.assertEqual(len(read_exactly(reader, 86)), 86)
            reader.close()
            # It has closed: the kernel says so when something is sent.
            while self.text().count("reader gone") < round_number:
                send(agent, 1, first=10 * round_number + 1)
                count += 1
                self.await_packets(count)
        pushed = self.report()["push"]
        self.assertEqual(pushed["where"], "127.0.0.1:4000")
        self.assertEqual(pushed["packets"] + pushed["lost"], count)
        self.assertGreaterEqual(pushed["reasons"]["not connected"], 2)


class FormatTest(OutputsCase):
    """Files, and none."""

    def test_pcap_files(self):
        self.begin("--format", "pcap")
        second = self.agent(packet(FRAME, 1), source="127.0.0.2", link_type=113)
        self.await_start(second)
        self.await_text("packets not recorded")
        file = self.report()["file"]
        self.assertEqual((file["packets"], file["reasons"]), (1, {"other link type": 1}))
        self.assertIn("Wireshark/tcpdump/... - nanosecond pcap", run("capinfos", str(self.file)).stdout)
        self.assertIn("10.0.0.1.7 > 10.0.0.2.7", run("tcpdump", "-nr", str(self.file)).stdout)

    def check_reader(self, text):
        """A reader that comes when the collector has said something gets an agent's next packet."""
        agent = self.agent(packet(DATAGRAM, 1))
        self.await_start(agent)
        self.await_text(text)
        reader = self.connect()
        self.await_readers(1)
        send(agent, 1)
        self.assertEqual(len(read_exactly(reader, 86)), 86)
        self.end()

    def test_no_file_where_packets_go_elsewhere(self):
        self.collector = subprocess.Popen(
            self.command("--serve", "--order", "off"), stderr=self.log, cwd=self.folder.name)
        self.await_text("serving packets")
        self.check_reader("capture started")
        self.assertEqual(list(self.file.parent.glob("*.pcap*")), [])
        self.assertTrue(re.search(r"serve +127.0.0.1:57012 +1 ", self.text()), self.text())

    def test_a_full_disk_costs_readers_nothing(self):
        self.file = "/dev/full"
        self.collect("--serve", "--order", "off")
        self.await_text("listening")
        self.check_reader("file given up")
        self.assertRegex(self.text(), r"file +/dev/full +\d+ .* file given up: \d+\n")

    def test_a_full_disk_leaves_whole_packets(self):
        disk = pathlib.Path(self.folder.name) / "disk"
        disk.mkdir()
        run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk))
        try:
            self.file = disk / "out.pcapng"
            self.collect()
            self.await_text("listening")
            agent = self.agent(packet(DATAGRAM, 1))
            self.await_start(agent)
            self.await_packets(1)
            send(agent, 40, DATAGRAM + bytes(60_000))
            self.assertEqual(self.collector.wait(PATIENCE_SECONDS), 71, self.text())
            self.assertIn("out.pcapng: No space left on device", self.text())
            # tshark fails where a packet is cut.
            self.assertIn(("10.0.0.1",), self.fields("ip.src"))
        finally:
            run("umount", str(disk))


if __name__ == "__main__":
    unittest.main()
