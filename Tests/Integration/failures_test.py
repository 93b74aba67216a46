"""What keeps an agent and its collector apart for good: one warning at each end, which names the option that
mends it there. Both ends are podwire.

PODWIRE names the binary. Each test has a node with a pod, and the collector is on the node, too.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import unittest

from support.bed import Bed
from support.commands import make_certificate, run
from support.endpoint import Endpoint
from support.namespace import await_listener
from support.program import PODWIRE, Program
from support.waiting import PATIENCE_SECONDS, wait_until

# Tries with which a line that were logged for each would show.
TRY_COUNT = 3


class FailuresTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        for name, alternative in (("agent", "IP:127.0.0.1"), ("other", "DNS:other.test")):
            make_certificate(cls.folder / f"{name}.key", cls.folder / f"{name}.pem",
                             "-addext", f"subjectAltName={alternative}", name=name)
        run(PODWIRE, "password", "eve", "--file", cls.folder / "users", input="secret\n")
        (cls.folder / "wrong").write_text("wrong\n")

    def setUp(self):
        self.bed = Bed("fl")
        self.addCleanup(self.bed.remove)

    def program(self, command, *arguments):
        words = [str(word).format(folder=self.folder) for word in arguments]
        program = Program(self.bed.node, command, *words, "--log-level", "warning",
                          PODNET="10.244.0.0/16")
        self.addCleanup(program.kill)
        return program

    def tls(self, name="agent"):
        return ("--tls-certificate", f"{{folder}}/{name}.pem", "--tls-key", f"{{folder}}/{name}.key")

    def collect(self, *arguments):
        return self.program("collect", "-o", self.folder / "out.pcapng", *arguments)

    def check(self, program, message, *parts):
        """One line of this message, with all parts."""
        program.await_text(message)
        # A try that comes within a second of a wrong password has a reason of its own.
        lines = [line for line in program.lines(message) if "the password was not tried" not in line]
        self.assertEqual(len(lines), 1, program.text())
        for part in ("warning", *parts):
            self.assertIn(part, lines[0])

    def await_tries(self, metric):
        endpoint = Endpoint(self.bed.node)
        # It may listen only after the first try.
        endpoint.await_page("/healthz", 200)
        endpoint.await_metrics(lambda metrics: metrics.sum(metric) >= TRY_COUNT)

    def agent_dials(self, collecting, agent, collector_parts, agent_parts, metric):
        collector = self.collect("--listen", "127.0.0.1:2003", *collecting)
        await_listener(self.bed.node, 2003)
        agent = self.program("agent", "--sensor", "127.0.0.1:2003", *agent)
        agent.await_text("sensor session ended")
        self.await_tries(metric)
        self.check(agent, "sensor session ended", *agent_parts)
        self.check(collector, "cannot capture from agent", *collector_parts)

    def test_agent_dials_and_only_the_collector_has_tls(self):
        self.agent_dials(("--tls", "--tls-ca", "{folder}/agent.pem"), (),
                         ("leave out --tls", "--tls-certificate"), ("--tls-certificate", "without --tls"),
                         "podwire_sessions_total")

    def test_agent_dials_and_only_the_agent_has_tls(self):
        self.agent_dials((), self.tls(), ("error 19", "start this command with --tls"),
                         ("collect --tls", "--tls-peers clients"), "podwire_tls_handshake_failures_total")

    def test_agent_dials_and_its_certificate_is_not_trusted(self):
        self.agent_dials(("--tls", "--tls-ca", "{folder}/other.pem"), self.tls(),
                         ("not trusted", "--tls-ca FILE"), ("unknown CA", "--tls-ca"),
                         "podwire_tls_handshake_failures_total")

    def collector_dials(self, source, collecting, agent, collector_parts, agent_parts=None,
                        message="client session ended", collector_message="cannot capture from agent"):
        agent = self.program("agent", "--listen", "127.0.0.1:2002", *agent)
        Endpoint(self.bed.node).await_page("/readyz", 200, "")
        collector = self.collect("--from", source, *collecting)
        collector.await_text(collector_message)
        before = self.tries()
        wait_until(lambda: self.tries() >= before + TRY_COUNT - 1, "no further tries")
        self.check(collector, collector_message, *collector_parts)
        if agent_parts:
            self.check(agent, message, *agent_parts)

    def tries(self):
        metrics = Endpoint(self.bed.node).metrics()
        return sum(metrics.sum(name) for name in (
            "podwire_sessions_total", "podwire_tls_handshake_failures_total",
            "podwire_clients_refused_total"))

    def test_collector_dials_and_only_it_has_tls(self):
        self.collector_dials("rpcaps://127.0.0.1", (), ("--allow-null-login",), ("write rpcap://",),
                             ("rpcap:// for rpcaps://", "--tls-certificate"))

    def test_collector_dials_and_only_the_agent_has_tls(self):
        self.collector_dials("rpcap://127.0.0.1", (), ("--allow-null-login", *self.tls()),
                             ("error 19", "write rpcaps://"), ("rpcaps:// for rpcap://", "--tls-peers sensors"))

    def test_collector_dials_and_does_not_trust(self):
        self.collector_dials("rpcaps://127.0.0.1", (), ("--allow-null-login", *self.tls()),
                             ("not trusted", "--tls-ca FILE"), ("unknown CA", "--tls-ca"))

    def test_collector_dials_by_another_name(self):
        self.collector_dials(
            "rpcaps://127.0.0.1", ("--tls-ca", "{folder}/other.pem"),
            ("--allow-null-login", *self.tls("other")), ("not for 127.0.0.1", "host in --from"),
            ("certificate", "its log says why"))

    def test_a_login_without_a_password_is_refused(self):
        self.collector_dials("rpcap://127.0.0.1", (), ("--password-file", "{folder}/users"),
                             ("error 18", "rpcap://USER@HOST", "--password-file"),
                             ("error 18", "--allow-null-login"))

    def test_a_wrong_password(self):
        self.collector_dials(
            "rpcap://eve@127.0.0.1", ("--password-file", "{folder}/wrong"),
            ("--password-file", "{folder}/users"), ("error 18", "correct the user in --from"),
            ("error 18", "podwire password"))

    def test_an_address_that_is_not_allowed_with_tls(self):
        """The agent refuses in plain RPCAP, before TLS begins."""
        self.collector_dials(
            "rpcaps://127.0.0.1", ("--tls-ca", "{folder}/agent.pem"),
            ("--allow-null-login", "--allow", "192.0.2.0/24", *self.tls()),
            ("allow list (error 10)", "PODWIRE_ALLOW"), ("allow list",), message="client refused")

    def test_a_device_that_is_not_there(self):
        self.collector_dials("rpcap://127.0.0.1/nosuch", (), ("--allow-null-login",),
                             ("there is no device nosuch", "any-eth"))

    def test_nobody_listens(self):
        collector = self.collect("--from", "rpcap://127.0.0.1:2009", "--from", "rpcap://nosuch.test")
        collector.await_text("agent not reached", 2)
        lines = collector.lines("agent not reached")
        self.assertTrue(any("Connection refused" in line and "--listen" in line for line in lines), lines)
        self.assertTrue(any("nosuch.test" in line and "host in --from" in line for line in lines), lines)

    def test_json_to_the_end_and_agents_that_have_gone(self):
        """Each line is an object, numbers are numbers, and who has gone keeps its numbers."""
        collector = Program(
            self.bed.node, "collect", "-o", str(self.folder / "json.pcapng"), "--listen", "127.0.0.1:2003",
            PODWIRE_LOG_FORMAT="json")
        self.addCleanup(collector.kill)
        collector.await_text("waiting for agents: each tries again within 30 s")
        agent = self.program("agent", "--sensor", "127.0.0.1:2003")
        collector.await_text("capture started")
        self.bed.ping(3)
        agent.process.send_signal(signal.SIGTERM)
        collector.await_text("agent gone")
        collector.process.send_signal(signal.SIGTERM)
        self.assertEqual(collector.process.wait(), 0)
        events = [json.loads(line) for line in collector.text().splitlines()]
        gone = next(event for event in events if event["message"] == "agent gone")
        self.assertEqual(gone["level"], "warning")
        summary = next(event for event in events if event["message"] == "summary" and "agent" in event)
        self.assertGreaterEqual(summary["packets"], 6)
        self.assertEqual(summary["state"], "gone")
        self.assertIsInstance(summary["gone_seconds"], int)
        self.assertEqual(events[-1]["message"], "recording complete")
        for event in events:
            for key in event:
                self.assertRegex(key, r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")


class FullDeviceTest(unittest.TestCase):
    """Standard output that takes nothing, and one whose reader has gone."""

    COMMANDS = (("filter", "port", "53"), ("reference", "commands"),
                ("explain", "--pod-network", "10.244.0.0/16", "tcp", "10.244.1.2:40000", "10.244.2.3:80"),
                ("doctor", "--pod-network", "10.244.0.0/16"), ("edges",))

    def run_into(self, output, *command):
        return subprocess.run([PODWIRE, *command], stdout=output, stderr=subprocess.PIPE, text=True,
                              check=False, timeout=PATIENCE_SECONDS)

    def test_a_full_device_is_an_error(self):
        for command in self.COMMANDS:
            with self.subTest(command), open("/dev/full", "w", encoding="ascii") as full:
                done = self.run_into(full, *command)
                self.assertEqual(done.returncode, 71, done.stderr)
                self.assertIn(f"podwire {command[0]}: write standard output: No space left on device",
                              done.stderr)

    def test_a_reader_that_has_gone_is_an_ordinary_end(self):
        for command in self.COMMANDS:
            with self.subTest(command):
                reading, writing = os.pipe()
                os.close(reading)
                done = self.run_into(writing, *command)
                os.close(writing)
                self.assertIn(done.returncode, (0, 1), done.stderr)
                self.assertNotIn("Broken pipe", done.stderr)

    def test_errors_have_one_form(self):
        for words in (("agent", "--nosuch"), ("collect", "--keep", "3"), ("collect", "--nosuch"),
                      ("top", "--count", "0"), ("edges", "--nosuch")):
            with self.subTest(words):
                done = run(PODWIRE, *words, check=False)
                self.assertEqual(done.returncode, 64)
                self.assertRegex(done.stderr, rf"^podwire {words[0]}: ")
                self.assertIsNone(re.search("^(Error|Usage)", done.stderr, re.M), done.stderr)


if __name__ == "__main__":
    unittest.main()
