"""podwire at work in a network namespace, as the tests start and watch it. PODWIRE names the binary."""

import fcntl
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile

from support.namespace import command_in
from support.waiting import PATIENCE_SECONDS, wait_until

PODWIRE = os.environ["PODWIRE"]

# What can become of a frame that was captured: together as many as were captured.
FATES = ("forwarded", "refused", "filtered", "sampled_out", "flow_sampled_out", "cut_off", "other_agent",
         "limited",
         "dropped_by_ring", "dropped_by_block", "dropped_by_queue", "abandoned")


def counts_of(line):
    """The numbers in a line of the log, whatever its form is."""
    if line.startswith("{"):
        return {name: value for name, value in json.loads(line).items() if isinstance(value, int)}
    return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)(?=\s|$)", line)}


def check_accounts(log):
    """Each capture that has ended says what became of every frame, and of none twice."""
    for line in log.splitlines():
        if "capture ended" not in line:
            continue
        counts = counts_of(line)
        assert "unaccounted" not in counts, f"an edge's account is not balanced: {line}"
        missing = [name for name in ("matched", "sent", *FATES) if name not in counts]
        assert not missing, f"no {missing} in {line}"
        fates = sum(counts[name] for name in FATES)
        assert counts["matched"] == fates, f"{fates} frames are accounted for: {line}"


def appended_file():
    """A file to which programs append, whoever reads it meanwhile.

    They share the place in the file with who reads it, so they would write where that has just begun to
    read. Python opens no temporary file so by itself, whatever its mode says.
    """
    file = tempfile.TemporaryFile("a+")
    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
    return file


class Program:
    """podwire at work in a network namespace."""

    def __init__(self, namespace, *arguments, prefix=(), output=None, **variables):
        self.namespace = namespace
        self.log = appended_file()
        self.process = subprocess.Popen(
            command_in(namespace, *prefix, PODWIRE, *arguments),
            env={**os.environ, **variables}, stdout=output, stderr=self.log)

    def text(self):
        """The log so far."""
        self.log.seek(0)
        return self.log.read()

    def lines(self, text):
        """The lines of the log that have a text in them."""
        return [line for line in self.text().splitlines() if text in line]

    def await_text(self, text, count=1, seconds=PATIENCE_SECONDS):
        """Waits until a text has appeared so many times; not for a program that has ended."""
        def is_there():
            has_ended = self.process.poll() is not None
            if self.text().count(text) >= count:
                return True
            assert not has_ended, f"no {text!r} in {self.text()[-4000:]}"
            return False

        wait_until(is_there, lambda: f"no {text!r} in {self.text()[-4000:]}", seconds)

    def stop(self, number=signal.SIGTERM):
        """Ends it, and returns its exit code. What it says that it has done has to add up."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_SECONDS)
        check_accounts(self.text())
        return code

    def kill(self):
        """Ends it at once, for when a test is over; and whatever that was about, what the program
        says that it has done has to add up."""
        self.process.kill()
        self.process.wait()
        log = self.text()
        self.log.close()
        check_accounts(log)

    @property
    def pid(self):
        """That of podwire itself, and not of what has started it."""
        pid = self.process.pid
        while "podwire" not in pathlib.Path(f"/proc/{pid}/comm").read_text():
            pid = int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        return pid

    def uses(self):
        """Descriptors, threads, and bytes of memory beside the rings, which are shared."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return (len(os.listdir(f"/proc/{self.pid}/fd")),
                int(re.search(r"Threads:\s+(\d+)", status)[1]),
                int(re.search(r"RssAnon:\s+(\d+)", status)[1]) * 1024)

    def await_uses(self, before):
        """Waits until it has no more descriptors and threads than before; fewer do no harm."""
        wait_until(lambda: all(now <= then for now, then in zip(self.uses()[:2], before)),
                   lambda: f"descriptors and threads: {before}, then {self.uses()}")

    def rings(self):
        """How many bytes each ring has."""
        maps = pathlib.Path(f"/proc/{self.pid}/maps").read_text()
        return [int(end, 16) - int(start, 16) for start, end in
                re.findall(r"(\w+)-(\w+) rw-s .* socket:", maps)]

    def ring_bytes(self):
        return sum(self.rings())

    def counts(self):
        """The counters of the capture that has ended last."""
        return counts_of(self.lines("capture ended")[-1])
