"""A collector in a network namespace, and agents that are played by hand."""

import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

from support import captures
from support.commands import run
from support.fake_agents import FakeAgent, FakeDaemon
from support.namespace import add_namespace, command_in, remove_namespaces, run_in
from support.program import PODWIRE
from support.waiting import PATIENCE_SECONDS, wait_until


class CollectorCase(unittest.TestCase):
    """A network namespace, and a collector in it."""

    def setUp(self):
        self.namespace = f"ct{os.getpid()}-{time.monotonic_ns() % 100000}"
        add_namespace(self.namespace)
        self.folder = tempfile.TemporaryDirectory()
        self.file = pathlib.Path(self.folder.name) / "out.pcapng"
        # The collector shares the place in the file, so that only appending is safe from reading.
        self.log = open(pathlib.Path(self.folder.name) / "log", "a+")
        self.agents, self.collector = [], None

    def command(self, *arguments):
        return command_in(self.namespace, PODWIRE, "collect", *arguments)

    def collect(self, *arguments, **keywords):
        self.collector = subprocess.Popen(
            self.command("-o", self.file, *arguments), stderr=self.log, **keywords)

    def tearDown(self):
        for agent in self.agents:
            agent.close()
        if self.collector:
            self.collector.kill()
            self.collector.wait()
            if self.collector.stdout:
                self.collector.stdout.close()
        self.log.close()
        self.folder.cleanup()
        remove_namespaces(self.namespace)

    def text(self):
        self.log.seek(0)
        return self.log.read()

    def await_text(self, text, count=1):
        self.wait(lambda: self.text().count(text) >= count, f"no {text!r}")

    def wait(self, condition, what):
        wait_until(condition, lambda: f"{what} in {self.text()}")

    def await_start(self, *agents):
        """Waits until agents were asked to start, and have sent what they have."""
        for agent in agents:
            self.assertTrue(agent.started.wait(PATIENCE_SECONDS), self.text())

    def await_packets(self, count):
        """Waits until so many packets are in the files."""
        self.wait(lambda: sum(len(captures.read(file)) for file in self.files()) >= count,
                  f"not {count} packets")

    def await_datagrams(self):
        """Waits until the collector has read all datagrams that were sent to it."""
        def are_read():
            lines = run_in(self.namespace, "ss", "-Huanp").stdout.splitlines()
            own = [line.split()[1] for line in lines if "podwire" in line]
            return bool(own) and set(own) == {"0"}

        self.wait(are_read, "datagrams are left")

    def files(self):
        return [self.file] if self.file.exists() else []

    def agent(self, *arguments, **keywords):
        agent = FakeAgent(self.namespace, *arguments, **keywords)
        self.agents.append(agent)
        return agent

    def daemon(self, *arguments, **keywords):
        daemon = FakeDaemon(self.namespace, *arguments, **keywords)
        self.agents.append(daemon)
        return daemon

    def end(self, code=0):
        begin = time.monotonic()
        self.collector.send_signal(signal.SIGTERM)
        self.assertEqual(self.collector.wait(PATIENCE_SECONDS), code, self.text())
        return time.monotonic() - begin

    def fields(self, *names, file=None):
        arguments = [word for name in names for word in ("-e", name)]
        done = run("tshark", "-r", str(file or self.file), "-T", "fields", *arguments)
        return [tuple(line.split("\t")) for line in done.stdout.splitlines()]
