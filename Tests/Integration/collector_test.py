"""The collector as its users start it, with agents that are right and agents that are not.

PODWIRE names the binary. Agents are played by hand, over loopback in a network namespace.
"""

import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from agent_test import PODWIRE, in_namespace, run  # noqa: E402

PORT = 2003
FRAME = bytes.fromhex("02000000000a02000000000188b5") + bytes(range(46))


def reply(kind, payload=b"", value=0):
    return struct.pack("!BBHI", 0, kind | 0x80, value, len(payload)) + payload


def packet(frame, number, seconds=1_700_000_000, micros=123456, length=None):
    head = struct.pack("!IIIII", seconds, micros, len(frame), length or len(frame), number)
    return struct.pack("!BBHI", 0, 7, 0, 20 + len(frame)) + head + frame


class FakeAgent:
    """Answers the collector as an agent would, until it is asked to start; then it sends `data`."""

    def __init__(self, namespace, data=b"", source="127.0.0.1", opens=True):
        self.namespace, self.data_bytes, self.opens = namespace, data, opens
        self.control = in_namespace(namespace, socket.socket)
        self.control.settimeout(10)
        self.control.bind((source, 0))
        self.control.connect(("127.0.0.1", PORT))
        self.data = None
        self.started = threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def read(self, count):
        data = b""
        while len(data) < count:
            part = self.control.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def serve(self):
        try:
            while True:
                _, kind, _, count = struct.unpack("!BBHI", self.read(8))
                self.answer(kind, self.read(count))
        except (EOFError, OSError):
            pass

    def answer(self, kind, payload):
        if kind == 8:
            self.control.sendall(reply(8))
        elif kind == 2:
            name, text = b"any-eth", b";preselected"
            self.control.sendall(reply(2, struct.pack("!HHIHH", len(name), len(text), 22, 0, 0)
                                       + name + text, value=1))
        elif kind == 3:
            self.control.sendall(reply(3, struct.pack("!II", 1, 0)))
        elif kind == 4:
            if self.opens:
                self.data = in_namespace(self.namespace, socket.socket)
                self.data.bind((self.control.getsockname()[0], 0))
                self.data.connect(("127.0.0.1", struct.unpack_from("!H", payload, 10)[0]))
                self.data.sendall(self.data_bytes)
            self.control.sendall(reply(4, bytes(8)))
            self.started.set()
        elif kind == 9:
            self.control.sendall(reply(9, struct.pack("!IIII", 7, 1, 2, 4)))
        elif kind == 10:
            self.data.close()
            self.control.sendall(reply(10))

    def close(self):
        for thing in (self.control, self.data):
            if thing:
                thing.close()


class CollectorTest(unittest.TestCase):
    def setUp(self):
        self.namespace = f"ct{os.getpid()}-{time.monotonic_ns() % 100000}"
        run("ip", "netns", "add", self.namespace)
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        self.folder = tempfile.TemporaryDirectory()
        self.file = pathlib.Path(self.folder.name) / "out.pcapng"
        self.log = open(pathlib.Path(self.folder.name) / "log", "w+")
        self.collector = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, PODWIRE, "collect", "-o", self.file],
            stderr=self.log)
        self.await_text("listening")
        self.agents = []

    def tearDown(self):
        for agent in self.agents:
            agent.close()
        self.collector.kill()
        self.collector.wait()
        self.log.close()
        self.folder.cleanup()
        run("ip", "netns", "del", self.namespace)

    def text(self):
        self.log.seek(0)
        return self.log.read()

    def await_text(self, text, seconds=20):
        deadline = time.monotonic() + seconds
        while text not in self.text():
            self.assertLess(time.monotonic(), deadline, f"no {text!r} in {self.text()}")
            time.sleep(0.05)

    def agent(self, *arguments, **keywords):
        agent = FakeAgent(self.namespace, *arguments, **keywords)
        self.agents.append(agent)
        return agent

    def end(self):
        begin = time.monotonic()
        self.collector.send_signal(signal.SIGTERM)
        self.assertEqual(self.collector.wait(10), 0, self.text())
        return time.monotonic() - begin

    def fields(self, *names):
        arguments = [word for name in names for word in ("-e", name)]
        done = run("tshark", "-r", str(self.file), "-T", "fields", *arguments)
        return [tuple(line.split("\t")) for line in done.stdout.splitlines()]

    def test_packets_of_two_agents_come_to_the_file(self):
        one = self.agent(b"".join(packet(FRAME, n, micros=n) for n in range(1, 4)))
        two = self.agent(packet(FRAME * 1100, 1, length=70000), source="127.0.0.2")
        one.started.wait(10)
        two.started.wait(10)
        time.sleep(2.5)
        self.assertLess(self.end(), 4)
        rows = self.fields("frame.interface_name", "frame.time_epoch", "frame.cap_len", "frame.len")
        self.assertEqual(sorted(rows), sorted(
            [("any-eth@127.0.0.1", f"1700000000.00000{n}000", "60", "60") for n in (1, 2, 3)]
            + [("any-eth@127.0.0.2", "1700000000.123456000", "66000", "70000")]))
        counts = run("capinfos", "-M", str(self.file)).stdout
        self.assertIn("Number of packets:   4", counts)
        self.assertRegex(self.text(), r"any-eth@127.0.0.1 +3 ")

    def test_an_agent_that_misbehaves_ends_alone(self):
        good = self.agent(packet(FRAME, 1))
        good.started.wait(10)
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
        silent = in_namespace(self.namespace, socket.socket)
        silent.connect(("127.0.0.1", PORT))
        silent.sendall(b"\x00\x88\x00")
        refusing = in_namespace(self.namespace, socket.socket)
        refusing.connect(("127.0.0.1", PORT))
        refusing.sendall(bytes.fromhex("0001000300000002") + b"no")
        self.await_text("the peer refused: no")
        good.data.sendall(packet(FRAME, 2))
        time.sleep(1)
        self.end()
        silent.close()
        refusing.close()
        rows = [row for row in self.fields("frame.interface_name") if row[0].endswith("127.0.0.1")]
        self.assertEqual(len(rows), 2, self.text())

    def test_an_agent_that_opens_no_data_connection_is_dropped(self):
        self.agent(opens=False)
        self.await_text("opened no data connection")

    def test_standard_output_is_live(self):
        self.collector.kill()
        self.collector.wait()
        collector = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, PODWIRE, "collect", "-o", "-"],
            stdout=subprocess.PIPE, stderr=self.log)
        try:
            time.sleep(0.5)
            self.agent(packet(FRAME, 1)).started.wait(10)
            data = b""
            while FRAME not in data:
                part = os.read(collector.stdout.fileno(), 65536)
                self.assertTrue(part, self.text())
                data += part
            # Whoever read has gone: the collector says so and ends.
            collector.stdout.close()
            self.agents[0].data.sendall(packet(FRAME, 2))
            self.assertEqual(collector.wait(10), 71)
            self.assertIn("write standard output: Broken pipe", self.text())
        finally:
            collector.kill()
            collector.wait()


if __name__ == "__main__":
    unittest.main()
