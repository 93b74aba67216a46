"""The agent's log: as JSON, while peers send nonsense; where nobody reads it; and for how long.

PODWIRE names the binary. Each test has a node and a pod in network namespaces of its own.
"""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from support import rpcap
from support.agent import Agent, Client, SensorSession
from support.bed import Bed, Mark
from support.commands import output, run
from support.namespace import add_namespace, add_wire, command_in, ip_in, run_in
from support.program import PODWIRE, counts_of
from support.rpcap import END, LIST, LOGIN
from support.waiting import PATIENCE_SECONDS, wait_until

# An agent ends within two seconds; on a busy machine it may need some more.
STOP_SECONDS = 20
# What a peer may say to be somebody else in the log, or to end its line.
NASTY = [b'eve", "level": "error', b"a\nb\r\n{\"time\": 1}\n", b"\x00\x01\x1b[2J\x7f", b"\xff\xfe\xc3(",
         "\u2028\u2029\u0085\u202e".encode(), b"\\", b"'", b"x" * 60_000, b"1", b""]


def add_edge(bed):
    """A second pod."""
    pod = f"{bed.pod}2"
    add_namespace(pod)
    add_wire(bed.node, "veth-two", pod)
    ip_in(bed.node, "addr", "add", "10.244.2.1/24", "dev", "veth-two")
    ip_in(pod, "addr", "add", "10.244.2.2/24", "dev", "eth0")
    return pod


class LogTest(unittest.TestCase):
    def setUp(self):
        self.bed = Bed("lg")
        self.addCleanup(self.bed.remove)

    def agent(self, **keywords):
        agent = Agent(self.bed, **keywords)
        self.addCleanup(agent.kill)
        return agent

    def listen(self):
        listener = self.bed.listen()
        self.addCleanup(listener.close)
        return listener

    def session(self, listener):
        session = SensorSession(listener)
        self.addCleanup(session.close)
        return session

    def client(self):
        client = Client(self.bed.node)
        self.addCleanup(client.close)
        return client

    def check_gets_packets(self, session, count=3):
        self.assertEqual(self.bed.pings_seen(session, count), 2 * count)

    def test_json_whatever_peers_say(self):
        users = tempfile.NamedTemporaryFile("w", suffix=".users")
        self.addCleanup(users.close)
        run(PODWIRE, "password", "eve", "--file", users.name, input="secret\n")
        listener = self.listen()
        agent = self.agent(arguments=(
            "--log-format", "json", "--log-level", "trace", "--listen", "127.0.0.1:2002",
            "--password-file", users.name))
        sensor = self.session(listener)
        self.assertEqual(sensor.start(self.bed)[0], 0x84)
        agent.await_text("listening for clients")
        for text in NASTY:
            client = self.client()
            client.ask(rpcap.login(text[:60_000], b"wrong"))
            client.close()
            client = self.client()
            client.ask(rpcap.login(b"eve", b"secret"))
            for request in (rpcap.open_device(text[:255]), rpcap.message(200, text),
                            rpcap.message(1, text[:500])):
                try:
                    client.ask(request)
                except (EOFError, OSError):
                    break
            client.close()
            client = self.client()
            client.control.sendall(text * 3 + b"\x00")
            client.close()
        self.check_gets_packets(sensor)
        sensor.ask(END)
        agent.await_text("capture ended")
        self.assertEqual(agent.stop()[0], 0)
        agent.log.seek(0)
        raw = agent.log.buffer.read()
        self.assertTrue(raw.endswith(b"\n"))
        # Lines as whoever splits texts at everything that Unicode calls an end of line sees them.
        lines = raw.decode("utf-8", errors="strict").splitlines()
        self.assertGreater(len(lines), 30)
        kinds, events = {}, []
        for line in lines:
            event = json.loads(line, object_pairs_hook=lambda pairs: (
                self.assertEqual(len(dict(pairs)), len(pairs), line), dict(pairs))[1])
            events.append(event)
            self.assertRegex(event["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            self.assertIn(event["level"], ("trace", "debug", "info", "notice", "warning", "error"))
            self.assertEqual(list(event)[:3], ["time", "level", "message"])
            for name, value in event.items():
                kinds.setdefault(name, set()).add(type(value))
            self.assertTrue(line.isprintable(), line)
        self.assertEqual({name for name, found in kinds.items() if len(found) > 1}, set())
        # Most come so fast that they are not even tried.
        named = [event["user"] for event in events
                 if event["message"].startswith(("wrong name", "login refused untried"))]
        self.assertIn('eve", "level": "error', named)
        self.assertIn("1", named)
        ended = next(event for event in events if event["message"] == "capture ended")
        self.assertGreater(ended["matched"], 0)
        started = next(event for event in events if event["message"] == "agent started")
        self.assertEqual((started["edges"], started["edge_count"]), ("pods", 1))
        self.assertEqual((started["pod_networks"], started["service_networks"]),
                         ("10.244.0.0/16", ""))
        self.assertEqual(started["version"], output(PODWIRE, "--version").split()[1])
        self.assertEqual({"included", "excluded", "uncovered", "dedup", "frames"} & set(started),
                         set())

    def test_json_also_says_why_it_does_not_start(self):
        done = run("setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw", PODWIRE,
                   "agent", "--sensor", "127.0.0.1", "--pod-network", "10.244.0.0/16",
                   "--log-format", "json", check=False)
        self.assertEqual(done.returncode, 77)
        event, = map(json.loads, done.stderr.splitlines())
        self.assertEqual(event["level"], "critical")
        self.assertIn("CAP_NET_RAW", event["message"])

    def with_pipe(self, *arguments):
        """An agent whose log is a pipe of 4 KiB, and the pipe's end to be read."""
        reading, writing = os.pipe()
        fcntl.fcntl(writing, 1031, 4096)  # F_SETPIPE_SZ
        process = subprocess.Popen(
            command_in(self.bed.node, PODWIRE, "agent", "--sensor", "127.0.0.1", "--pod-network",
                       "10.244.0.0/16", "--listen", "127.0.0.1:2002", "--allow-null-login",
                       "--log-level", "trace", *arguments),
            stderr=writing)
        os.close(writing)

        def end():
            process.kill()
            process.wait()

        self.addCleanup(end)
        return process, reading

    def unread(self, pipe):
        count = bytearray(4)
        fcntl.ioctl(pipe, 0x541B, count)  # FIONREAD
        return int.from_bytes(count, sys.byteorder)

    def fill(self, pipe):
        """Has clients make so many lines that the pipe, the queue and the budget of lines are full."""
        begin = time.monotonic()

        def is_full():
            try:
                client = Client(self.bed.node)
            except ConnectionRefusedError:
                return False
            client.ask(LOGIN)
            client.close()
            # What the budget allows for some seconds is far more than the queue holds.
            return self.unread(pipe) >= 3500 and time.monotonic() > begin + 3

        wait_until(is_full, "the log does not fill", interval=0)

    def test_a_log_that_nobody_reads_stops_nothing(self):
        listener = self.listen()
        process, pipe = self.with_pipe()
        self.addCleanup(os.close, pipe)
        session = self.session(listener)
        self.assertEqual(session.start(self.bed)[0], 0x84)
        self.fill(pipe)
        self.check_gets_packets(session)
        # A new edge is captured, and sessions get answers, though all of it has lines.
        pod = add_edge(self.bed)

        def is_captured():
            run_in(pod, "ping", "-qc1", "-W1", "10.244.2.1", check=False)
            return any(frame.is_ping and frame.source == "10.244.2.2"
                       for frame in session.frames_until(Mark(self.bed)))

        wait_until(is_captured, "the new edge is not captured")
        self.check_gets_packets(session)
        client = self.client()
        client.log_in()
        self.assertEqual(client.ask(LIST)[:2], (0x82, 3))
        self.assertEqual(session.ask(END)[0], 0x8A)
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE_SECONDS), 0)
        self.assertLess(time.monotonic() - begin, STOP_SECONDS)

    def test_lines_wait_for_who_reads_late_and_those_left_out_are_counted(self):
        listener = self.listen()
        process, pipe = self.with_pipe()
        session = self.session(listener)
        self.assertEqual(session.start(self.bed)[0], 0x84)
        self.fill(pipe)
        process.send_signal(signal.SIGTERM)
        with os.fdopen(pipe, encoding="utf-8") as log:
            text = log.read()
        self.assertEqual(process.wait(PATIENCE_SECONDS), 0)
        self.assertTrue(text.rstrip().endswith("agent stopped"), text[-500:])
        for line in text.splitlines():
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\S+Z (trace|debug|info|notice|warning|error) ")
        # Peers' lines beyond the budget of the log were left out before they came to the pipe.
        self.assertRegex(text, r"lines_left_out=\d+")

    def test_a_log_that_is_closed_stops_nothing(self):
        listener = self.listen()
        process, pipe = self.with_pipe()
        os.close(pipe)
        session = self.session(listener)
        self.assertEqual(session.start(self.bed)[0], 0x84)
        self.check_gets_packets(session)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE_SECONDS), 0)

    def test_a_sensor_that_is_not_there_is_said_once(self):
        agent = self.agent()
        agent.await_text("sensor not reached")
        agent.endpoint.await_metrics(
            lambda metrics: metrics.sum("podwire_connect_failures_total") >= 3)
        self.assertEqual(agent.text().count("sensor not reached"), 1, agent.text())
        listener = self.listen()
        self.session(listener)
        agent.await_text("sensor connected")
        failures = re.findall(r"sensor connected failures=(\d+)", agent.text())
        self.assertEqual(len(failures), 1, agent.text())
        self.assertGreater(int(failures[0]), 1)


def setUpModule():
    """An agent that is left alone for a minute while the other tests run."""
    bed = Bed("ls")
    unittest.addModuleCleanup(bed.remove)
    listener = bed.listen()
    unittest.addModuleCleanup(listener.close)
    SummaryTest.agent = Agent(bed)
    unittest.addModuleCleanup(SummaryTest.agent.kill)
    session = SensorSession(listener)
    unittest.addModuleCleanup(session.close)
    assert session.start(bed)[0] == 0x84
    bed.ping(7)
    SummaryTest.frames = session.frames_until(Mark(bed))


class SummaryTest(unittest.TestCase):
    def test_once_a_minute(self):
        self.agent.await_text(" info summary ", seconds=60 + PATIENCE_SECONDS)
        line = self.agent.lines(" info summary ")[0]
        counts = counts_of(line)
        self.assertEqual(
            {name: counts[name] for name in ("sensors", "sensors_capturing", "clients",
                                             "edge_count", "edges_without_addresses", "reconnects", "limited",
                                             "dropped_by_ring", "dropped_by_block",
                                             "dropped_by_queue", "requests_unanswered",
                                             "requests_not_held")},
            {"sensors": 1, "sensors_capturing": 1, "clients": 0, "edge_count": 1,
             "edges_without_addresses": 0, "reconnects": 0, "limited": 0, "dropped_by_ring": 0,
             "dropped_by_block": 0, "dropped_by_queue": 0, "requests_unanswered": 0,
             "requests_not_held": 0})
        # A busy machine may be some seconds late.
        self.assertIn(counts["seconds"], range(60, 75))
        # The mark, and neighbour discovery, come while nobody reads any more.
        self.assertGreaterEqual(counts["packets"], len(self.frames))
        self.assertGreaterEqual(counts["bytes"], sum(28 + len(frame) for frame in self.frames))
        self.assertLess(counts["packets"], len(self.frames) + 20)


if __name__ == "__main__":
    unittest.main()
