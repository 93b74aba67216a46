"""The files of the collector, and how it ends: who may read them, signals, full disks, readers that go.

PODWIRE names the binary. Agents are played by hand, over loopback in a network namespace.
"""

import contextlib
import json
import os
import pathlib
import pty
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

from support import captures
from support.collecting import CollectorCase
from support.commands import run
from support.fake_agents import FRAME
from support.namespace import await_listener, command_in, socket_in
from support.program import PODWIRE
from support.rpcap import packet
from support.waiting import PATIENCE_SECONDS, wait_until

# The time after which a session has worked, and a little more.
GOOD_SECONDS = 10.5
# What erases the table to draw it again; colours are no drawing.
ESCAPE = "\x1b[J"


def packets(first, count, frame=FRAME):
    """Packets of an agent, each with a time of its own."""
    return b"".join(packet(frame, number, micros=number) for number in range(first, first + count))


def blocks(file):
    """The types and bodies of a pcapng file's blocks."""
    data, place = file.read_bytes(), 0
    while place < len(data):
        kind, length = struct.unpack_from("<II", data, place)
        assert struct.unpack_from("<I", data, place + length - 4) == (length,), "half a block"
        yield kind, data[place + 8:place + length - 4]
        place += length


def statistics(file):
    """Packets received and delivered, of each interface of a pcapng file."""
    found = []
    for kind, body in blocks(file):
        if kind == 5:
            options, place = {}, 12
            while (code := struct.unpack_from("<H", body, place)[0]) != 0:
                length = struct.unpack_from("<H", body, place + 2)[0]
                options[code] = body[place + 4:place + 4 + length]
                place += 4 + (length + 3) // 4 * 4
            found.append(tuple(struct.unpack("<Q", options[code])[0] for code in (4, 8)))
    return found


class RecordingCase(CollectorCase):
    """A collector that writes files, and what it says at its end."""

    def files(self):
        return sorted(self.file.parent.glob("out*.pcapng"))

    def begin(self, *arguments, data=None, **keywords):
        """Starts a collector with an agent that has sent packets, which are in the file."""
        self.collect(*arguments, **keywords)
        return self.join(packets(1, 1) if data is None else data)

    def join(self, data):
        self.await_text("listening")
        agent = self.agent(data)
        self.await_start(agent)
        self.await_text("capture started")
        return agent

    def await_end(self, code=0):
        self.assertEqual(self.collector.wait(PATIENCE_SECONDS), code, self.text())

    def on_terminal(self, *words, standard_output=None):
        """Starts a program in a session with a terminal of its own, which is its standard error.

        Returns the terminal's other end.
        """
        terminal, inside = pty.openpty()

        def take_terminal():
            os.setsid()
            os.close(os.open(os.ttyname(2), os.O_RDWR))

        self.collector = subprocess.Popen(
            command_in(self.namespace, *words), stdin=inside, stderr=inside,
            stdout=standard_output or inside, preexec_fn=take_terminal,
            env={**os.environ, "TERM": "xterm"})
        os.close(inside)
        return terminal

    @staticmethod
    def read_until(terminal, condition):
        """What a terminal shows until it fulfils a condition."""
        shown = ""

        def is_fulfilled():
            nonlocal shown
            shown += os.read(terminal, 1 << 16).decode()
            return condition(shown)

        wait_until(is_fulfilled, lambda: shown)
        return shown

    @contextlib.contextmanager
    def small_disk(self, size):
        disk = pathlib.Path(self.folder.name) / "disk"
        disk.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk))
        try:
            self.file = disk / "out.pcapng"
            yield disk
        finally:
            if self.collector:
                self.collector.kill()
                self.collector.wait()
            run("umount", str(disk))


class PrivacyTest(RecordingCase):
    """Who may read what is written."""

    def modes(self):
        return {path.name: path.stat().st_mode & 0o777
                for path in pathlib.Path(self.folder.name).rglob("*")
                if path.is_file() and path.name != "log"}

    def test_only_the_owner_reads_new_files(self):
        before = os.umask(0)
        try:
            agent = self.begin("--flows", f"{self.folder.name}/flows", "--rotate-time", "1h", "--keep", 3,
                               "--inventory", f"{self.folder.name}/names")
        finally:
            os.umask(before)
        self.await_packets(1)
        self.collector.send_signal(signal.SIGHUP)
        self.await_text("file complete")
        agent.data.sendall(packets(2, 1))
        self.await_packets(2)
        self.end()
        modes = self.modes()
        self.assertLessEqual({"out-00001.pcapng", "out-00002.pcapng", "flows", "hosts", "pods.ndjson",
                              "pods.tsv", "out.pcapng.keep"}, set(modes))
        self.assertEqual(set(modes.values()), {0o600}, modes)

    def test_who_was_let_in_stays(self):
        self.file.touch()
        self.file.chmod(0o640)
        flows = pathlib.Path(self.folder.name) / "flows"
        flows.touch()
        flows.chmod(0o644)
        self.begin("--flows", flows)
        self.await_packets(1)
        self.end()
        self.assertEqual(self.modes(), {"out.pcapng": 0o640, "flows": 0o644})


class SignalTest(RecordingCase):
    """What signals do."""

    def test_a_hangup_ends_it_as_sigterm_does(self):
        self.begin()
        self.collector.send_signal(signal.SIGHUP)
        self.await_end()
        self.assertRegex(self.text(), r"any-eth@127.0.0.1 +1 ")
        self.assertEqual(len(self.fields("frame.number")), 1)
        self.assertEqual(len(statistics(self.file)), 1)

    def test_a_hangup_begins_a_new_file_where_files_rotate(self):
        agent = self.begin("--rotate-time", "1h")
        for number in range(1, 3):
            self.await_packets(number)
            self.collector.send_signal(signal.SIGHUP)
            self.await_text("file complete", number)
            agent.data.sendall(packets(number + 1, 1))
        self.await_packets(3)
        self.end()
        self.assertEqual([len(captures.read(file)) for file in self.files()], [1, 1, 1])

    def test_a_terminal_that_goes_away_ends_it_though_files_rotate(self):
        with open(f"{self.folder.name}/stdout", "wb") as output:
            terminal = self.on_terminal(PODWIRE, "collect", "-o", self.file, "--rotate-time", "1h",
                                        standard_output=output)
        self.read_until(terminal, lambda shown: "listening" in shown)
        agent = self.agent(packets(1, 1))
        self.await_start(agent)
        self.await_packets(1)
        os.close(terminal)
        self.await_end()
        file, = self.files()
        self.assertEqual((len(captures.read(file)), len(statistics(file))), (1, 1))

    def test_nohup_holds(self):
        self.collector = subprocess.Popen(
            command_in(self.namespace, "nohup", PODWIRE, "collect", "-o", self.file),
            stderr=self.log, stdout=subprocess.DEVNULL)
        agent = self.join(packets(1, 1))
        self.collector.send_signal(signal.SIGHUP)
        agent.data.sendall(packets(2, 1))
        self.await_packets(2)
        self.end()

    def test_numbers_on_demand(self):
        agent = self.begin()
        self.await_packets(1)
        self.collector.send_signal(signal.SIGUSR1)
        self.await_text("summary agent=any-eth@127.0.0.1")
        agent.data.sendall(packets(2, 1))
        self.await_packets(2)
        self.end()

    def test_numbers_on_demand_where_nothing_else_is_said(self):
        self.collect("--quiet")
        await_listener(self.namespace, 2003)
        self.await_start(self.agent(packets(1, 1)))
        self.await_packets(1)
        self.assertEqual(self.text(), "")
        self.collector.send_signal(signal.SIGUSR1)
        self.wait(lambda: "any-eth@127.0.0.1" in self.text(), "no table")
        before = self.text()
        self.end()
        self.assertEqual(self.text(), before)

    def test_numbers_on_demand_at_any_level_of_the_log(self):
        for arguments in (("--quiet", "--log-format", "json"), ("--log-level", "warning")):
            with self.subTest(arguments):
                self.log.truncate(0)
                self.collect(*arguments)
                await_listener(self.namespace, 2003)
                self.await_start(self.agent(packets(1, 1)))
                self.await_packets(1)
                self.collector.send_signal(signal.SIGUSR1)
                self.await_text("any-eth@127.0.0.1")
                self.end()

    def test_a_table_of_conversations_on_demand(self):
        with open(f"{self.folder.name}/top", "w+") as output:
            self.collector = subprocess.Popen(
                command_in(self.namespace, PODWIRE, "top", "--quiet", "--duration", "1h"),
                stderr=self.log, stdout=output)
            await_listener(self.namespace, 2003)
            self.collector.send_signal(signal.SIGUSR1)
            place = pathlib.Path(output.name)
            self.wait(lambda: "0 conversations" in place.read_text(), "no table")
            self.collector.send_signal(signal.SIGHUP)
            self.await_end()
            self.assertEqual(place.read_text().count("0 conversations"), 2)


class TerminalTest(RecordingCase):
    """Programs that share a terminal."""

    def test_packets_are_not_written_to_a_terminal(self):
        terminal = self.on_terminal(PODWIRE, "collect", "-o", "-")
        shown = self.read_until(terminal, lambda shown: "terminal" in shown and "tshark" in shown)
        # Whose terminal goes gets a SIGHUP.
        self.await_end(64)
        os.close(terminal)
        self.assertNotIn("\n\r\r\n", shown)

    def check_drawing(self, output, draws, *arguments):
        terminal = self.on_terminal(PODWIRE, "collect", *arguments, standard_output=output)
        self.read_until(terminal, lambda shown: "listening" in shown)
        agent = self.agent(packets(1, 1))
        self.await_start(agent)
        shown = self.read_until(terminal, lambda shown: "capture started" in shown)
        # Three ticks, at each of which a table would be new.
        for _ in range(3):
            agent.asked.clear()
            self.assertTrue(agent.asked.wait(PATIENCE_SECONDS))
        self.collector.send_signal(signal.SIGTERM)
        shown += self.read_until(terminal, lambda shown: "ended" in shown)
        self.await_end()
        os.close(terminal)
        self.assertEqual(ESCAPE in shown, draws, shown)

    def test_nothing_is_drawn_where_packets_go_to_standard_output(self):
        self.check_drawing(subprocess.DEVNULL, False, "-o", "-")

    def test_nothing_is_drawn_beside_a_program_in_the_same_pipe(self):
        reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.addCleanup(reader.wait)
        self.addCleanup(reader.stdin.close)
        self.check_drawing(reader.stdin, False, "-o", self.file)

    def test_a_terminal_of_its_own_has_a_table(self):
        self.check_drawing(None, True, "-o", self.file)


class DiskTest(RecordingCase):
    """Disks that are full."""

    LONG = FRAME + bytes(20_000)

    def test_a_full_disk_ends_at_a_whole_block(self):
        for form in ("pcapng", "pcap"):
            with self.subTest(form), self.small_disk("64k"):
                agent = self.begin("--json", "--order", "off", "--format", form, stdout=subprocess.PIPE)
                agent.data.sendall(packets(2, 20, self.LONG))
                self.await_end(71)
                numbers = json.loads(self.collector.stdout.read())
                self.collector.stdout.close()
                self.assertIn("No space left on device", self.text())
                rows = self.fields("frame.number")
                # What fits: 65,536 bytes of packets of 20,060 bytes.
                self.assertEqual(len(rows), 4)
                file, = numbers["outputs"]
                self.assertEqual(file["packets"], 4)
                self.assertEqual(file["packets"] + file["lost"], 21)
                self.assertRegex(self.text(), r"any-eth@127.0.0.1 +\d+ ")
            pathlib.Path(self.folder.name, "disk").rmdir()
            for other in self.agents:
                other.close()
            self.log.truncate(0)

    def test_the_oldest_file_makes_room(self):
        with self.small_disk("3m") as disk:
            agent = self.begin("--order", "off", "--rotate-size", "1MiB", "--keep", 100)
            stranger = disk / "out-00000.pcapng"
            stranger.touch()
            for turn in range(8):
                agent.data.sendall(packets(2 + turn * 40, 40, self.LONG))
            agent.data.sendall(packets(1000, 1))
            self.wait(lambda: FRAME in self.files()[-1].read_bytes()[-400:], "not all packets")
            self.end()
            self.assertIn("file deleted early", self.text())
            self.assertIn("out-00001.pcapng", self.text())
            files = self.files()
            self.assertEqual(files.pop(0), stranger)
            self.assertGreaterEqual(len(files), 2)
            numbers = [int(file.stem[-5:]) for file in files]
            self.assertEqual(numbers, list(range(numbers[0], numbers[-1] + 1)))
            for file in files:
                self.assertTrue(list(blocks(file)))
            # What starts again on the full disk goes on, too.
            with self.assertRaises(OSError):
                (disk / "filler").write_bytes(bytes(4 << 20))
            deletions = self.text().count("file deleted early")
            self.collect("--order", "off", "--rotate-size", "1MiB", "--keep", 100)
            self.await_text("listening", 2)
            agent = self.agent(packets(1, 30, self.LONG))
            self.await_start(agent)
            self.await_text("file deleted early", deletions + 1)
            self.wait(lambda: len(captures.read(self.files()[-1])) == 30, "not all packets")
            self.end()

    def test_what_waits_on_a_full_disk_is_counted(self):
        with self.small_disk("64k"):
            agent = self.begin("--json", "--order", "1s", stdout=subprocess.PIPE)
            count = 200
            for first in range(2, count + 1):
                agent.data.sendall(packets(first, 1, self.LONG))
            self.await_end(71)
            numbers = json.loads(self.collector.stdout.read())
            file, = numbers["outputs"]
            received, = numbers["agents"]
            self.assertEqual(file["packets"] + file["lost"], received["packets"])
            self.assertEqual(file["packets"], len(captures.read(self.file)))

    def test_another_link_type_is_complete_where_one_fails(self):
        with self.small_disk("200k") as disk:
            agent = self.begin("--order", "off", "--split-link-types")
            other = self.agent(packets(1, 3), source="127.0.0.2", link_type=113)
            self.await_start(other)
            self.wait(lambda: (disk / "out-LINUX_SLL.pcapng").exists(), "no second file")
            self.wait(lambda: len(captures.read(disk / "out-LINUX_SLL.pcapng")) == 3, "no packets")
            agent.data.sendall(packets(2, 20, self.LONG))
            self.await_end(71)
            file = disk / "out-LINUX_SLL.pcapng"
            self.assertEqual(len(captures.read(file)), 3)
            self.assertEqual(len(statistics(file)), 1)

    def test_two_do_not_keep_files_of_one_name(self):
        self.begin("--rotate-time", "1h", "--keep", 2)
        done = subprocess.run(
            self.command("-o", self.file, "--listen", "127.0.0.1:2004", "--rotate-time", "1h",
                         "--keep", "2"), capture_output=True, text=True)
        self.assertEqual(done.returncode, 71, done.stderr)
        self.assertIn("another podwire", done.stderr)
        self.end()

    def test_a_folder_that_is_missing_is_to_be_made(self):
        folder = self.file.parent / "captures"
        for options in ((), ("--rotate-time", "1h"), ("--rotate-time", "1h", "--keep", "2"),
                        ("--split-link-types",), ("--format", "pcap")):
            with self.subTest(options):
                done = subprocess.run(self.command("-o", folder / "pods.pcapng", *options),
                                      capture_output=True, text=True)
                self.assertEqual(done.returncode, 71, done.stderr)
                self.assertIn(f"--output: make the folder first (mkdir -p {folder}): No such file", done.stderr)
                self.assertFalse(folder.exists())

    def test_only_own_files_are_deleted(self):
        others = [self.file.parent / f"out-0000{number}.pcapng" for number in range(1, 4)]
        for other in others:
            other.write_text("mine")
        agent = self.begin("--rotate-time", "1h", "--keep", 2)
        for number in range(4, 7):
            self.wait(lambda: len(captures.read(self.files()[-1])) == 1, "no packet")
            self.collector.send_signal(signal.SIGHUP)
            self.await_text("file complete", number - 3)
            agent.data.sendall(packets(number, 1))
        self.end()
        self.assertEqual([file.name for file in self.files()],
                         [*(other.name for other in others), "out-00006.pcapng", "out-00007.pcapng"])
        self.assertIn(f" in 4 files, of which 2 are left, the last of them {self.files()[-1]}\n", self.text())


class EndTest(RecordingCase):
    """Ends that nobody asks for with a signal."""

    def start_reader(self, *words):
        """Starts a collector whose packets a program reads."""
        reader = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(reader.stdout.close)
        self.addCleanup(reader.kill)
        self.collector = subprocess.Popen(self.command("-o", "-"), stdout=reader.stdin, stderr=self.log)
        reader.stdin.close()
        return reader

    def command(self, *arguments):
        if arguments[0] == "-o" and "-" in arguments[1:2]:
            return command_in(self.namespace, PODWIRE, "collect", *arguments)
        return super().command(*arguments)

    def test_a_reader_that_goes_is_an_ordinary_end(self):
        reader = self.start_reader("tshark", "-l", "-r", "-", "-c", "3")
        agent = self.join(packets(1, 4))
        self.assertEqual(reader.wait(PATIENCE_SECONDS), 0)
        # Nothing more comes, and it ends all the same.
        self.await_end()
        text = self.text()
        self.assertIn("the program that reads --output has gone", text)
        self.assertRegex(text, r"any-eth@127.0.0.1 +4 ")
        for wrong in ("warning", "error", "Broken pipe", "lost"):
            self.assertNotIn(wrong, text)
        self.assertTrue(agent.asked.wait(PATIENCE_SECONDS))

    def test_other_outputs_go_on_without_the_reader(self):
        reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
        self.collector = subprocess.Popen(
            self.command("-o", "-", "--flows", f"{self.folder.name}/flows"), stdout=reader.stdin,
            stderr=self.log)
        reader.stdin.close()
        reader.wait()
        self.await_text("reader gone")
        self.join(packets(1, 2))
        self.end()
        self.assertRegex(self.text(), r"flows +\S+ +2 ")

    def test_a_count_is_exact(self):
        for arguments in ((), ("--order", "off"), ("--rotate-size", "1MiB"), ("--serve",)):
            with self.subTest(arguments):
                self.collect("--count", "2500", "--json", *arguments, stdout=subprocess.PIPE)
                self.await_text("listening")
                for source in ("127.0.0.1", "127.0.0.2"):
                    agent = self.agent(packets(1, 2000, FRAME * 10), source=source)
                    self.await_start(agent)
                self.await_end()
                numbers = json.loads(self.collector.stdout.read())
                self.collector.stdout.close()
                self.assertEqual(sum(len(captures.read(file)) for file in self.files()), 2500)
                self.assertEqual(sum(agent["packets"] for agent in numbers["agents"]), 2500)
                self.assertEqual(sum(row[1] for file in self.files() for row in statistics(file)), 2500)
                # All but the last file were said to be complete.
                rotates = "--rotate-size" in arguments
                self.assertEqual(self.text().count("file complete"),
                                 len(self.files()) - 1 if rotates else 0)
                for file in self.files():
                    file.unlink()
                for agent in self.agents:
                    agent.close()
                self.log.truncate(0)

    def test_a_duration_ends_it_with_what_waits(self):
        # The window is longer than the time, so that the packet waits at the end.
        self.begin("--duration", "3s", "--order", "10s", "--count", "5")
        self.await_end()
        self.assertEqual(len(self.fields("frame.number")), 1)
        self.assertIn("the time of --duration is over", self.text())

    def test_a_duration_ends_what_never_gets_a_packet(self):
        daemon = self.daemon(b"")
        self.collect("--from", "rpcap://127.0.0.1", "--count", "1", "--duration", "2")
        self.await_start(daemon)
        self.await_end()
        self.assertEqual(self.fields("frame.number"), [])
        self.assertRegex(self.text(), r"eth0@127.0.0.1 +0 ")

    def test_silent_agents_and_readers_cost_the_file_nothing(self):
        agent = self.begin("--order", "10s", "--serve")
        answer = agent.answer
        agent.answer = lambda kind, payload: kind == 10 or answer(kind, payload)
        reader = socket_in(self.namespace)
        self.addCleanup(reader.close)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", 57012))
        self.await_text("reader connected")
        count = 1500
        for first in range(2, count + 1, 100):
            agent.data.sendall(
                packets(first, min(100, count + 1 - first), FRAME + bytes(20_000)))
        self.collector.send_signal(signal.SIGTERM)
        self.await_end()
        self.assertEqual(len(captures.read(self.file)), count)

    def test_no_agent_is_said_though_nothing_else_is(self):
        self.collect("--quiet", "--duration", "1")
        self.await_end()
        self.assertEqual(self.text(), "no agent has captured anything\n")

    def test_nothing_captured_leaves_no_file(self):
        self.collect("--from", "rpcap://127.0.0.1:1", "--duration", "1s")
        self.await_end(69)
        self.assertEqual(self.files(), [])
        self.assertIn("no agent has captured anything", self.text())
        self.file.write_text("old")
        self.collect("--from", "rpcap://127.0.0.1:1", "--duration", "1s")
        self.await_end(69)
        self.assertEqual(self.fields("frame.number"), [])

    def test_a_pipe_has_its_header_though_nothing_was_captured(self):
        with tempfile.TemporaryFile() as output:
            self.collector = subprocess.Popen(
                self.command("-o", "-", "--duration", "1s"), stdout=output, stderr=self.log)
            self.await_end()
            output.seek(0)
            done = subprocess.run(["tshark", "-r", "-"], stdin=output, capture_output=True, check=True)
        self.assertEqual(done.stdout, b"")

    def test_a_filter_that_nothing_has_matched_gets_a_hint(self):
        hint = "no packet matched the filter: calls to a service have the address and the port of the pod"
        for words, data, is_told in (
                (("host", "10.96.0.53"), b"", True), (("--filter", "dst 10.96.0.53"), b"", True),
                (("--quiet", "host", "10.96.0.53"), b"", False), (("port", "53"), b"", False),
                (("host", "10.96.0.53"), packets(1, 1), False)):
            with self.subTest(words=words, data=bool(data)):
                daemon = self.daemon(data)
                self.collect("--from", "rpcap://127.0.0.1", *words)
                self.await_start(daemon)
                if data:
                    self.await_packets(1)
                elif "--quiet" not in words:
                    self.await_text("capture started")
                self.end()
                self.assertEqual(self.text().count(hint), int(is_told), self.text())
                daemon.close()
                self.log.truncate(0)
        # A file that podwire has written is of the same form; one of another program need not be.
        for words, is_told in ((("host", "10.96.0.53"), True), (("port", "53"), False)):
            done = run(PODWIRE, "top", str(self.file), "--filter", " ".join(words))
            self.assertEqual(done.stderr.count(hint), int(is_told), done.stderr)
        other = self.file.parent / "other.pcap"
        run("editcap", "-F", "pcap", str(self.file), str(other))
        self.assertNotIn(hint, run(PODWIRE, "top", str(other), "--filter", "host 10.96.0.53").stderr)

    def test_words_in_place_of_a_file_are_told_where_they_go(self):
        for option, word, code, text in (
                ("--bpf", "port 53", 64, "podwire collect port 53"), ("--bpf", "tcp", 64, "tcpdump -ddd"),
                ("--bpf", "net 10.0.0.0/8", 64, "--filter"), ("--filter-file", "port 53", 64, "--filter,"),
                ("--bpf", "/no/such.file", 71, "No such file"), ("--bpf", "no.file", 71, "No such file")):
            with self.subTest(option=option, word=word):
                done = run(PODWIRE, "collect", option, word, check=False)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(text, done.stderr)

    def test_what_cannot_be_understood_is_refused(self):
        for arguments, text in ((("--count", "0"), "a number from 1 on"),
                                (("--duration", "soon"), "such as 10s"),
                                (("--order", "5"), "with its unit, ms or s"),
                                (("--duration", "0"), "such as 10s")):
            done = run(PODWIRE, "collect", *arguments, check=False)
            self.assertEqual(done.returncode, 64, arguments)
            self.assertIn(text, done.stderr)


class ContentTest(RecordingCase):
    """What a file says of itself."""

    def test_statistics_time_program_and_filter(self):
        agent = self.begin(data=packets(1, 50))
        self.await_packets(50)
        agent.control.close()
        agent.data.close()
        self.await_text("agent gone")
        self.join(packets(100, 2))
        self.await_text("capture started", 2)
        self.await_packets(52)
        self.end()
        # The agent has said that it received 7 packets.
        (received, delivered), = statistics(self.file)
        self.assertEqual(delivered, 52)
        self.assertGreaterEqual(received, delivered)
        text = run("capinfos", str(self.file)).stdout
        self.assertRegex(text, r"Capture application: +podwire \d")
        self.assertIn("Time precision = microseconds (6)", text)
        rows = [row for row in self.fields("frame.number", "frame.comment") if row[1:] != ("",)]
        self.assertEqual([row[0] for row in rows], ["51"], rows)
        self.assertIn("nothing was captured here for", rows[0][1])

    def test_an_agent_that_takes_over_leaves_no_gap(self):
        """Nothing is missing while one session of an agent goes on, nor is anything to warn of."""
        self.begin(data=packets(1, 10))
        older = self.agents[0]
        self.join(packets(20, 10))
        self.await_text("capture started", 2)
        newer = self.agents[1]
        # What ends a session sooner counts as a failure, of which only the first is logged.
        time.sleep(GOOD_SECONDS)
        for agent in (older, newer):
            # As an agent ends a session whose sensor another one of its node feeds now.
            agent.data.close()
            agent.control.close()
            if agent is older:
                self.await_text("info a session of the agent has ended, another one goes on")
                self.assertNotIn("agent gone", self.text())
                self.join(packets(40, 10))
                self.await_text("capture started", 3)
            else:
                self.await_text("another one goes on", 2)
        self.assertNotIn(" warning ", self.text())
        # Now nobody goes on.
        self.agents[2].data.close()
        self.agents[2].control.close()
        self.await_text("warning agent gone")
        # The first counters that are free are those of the first session, which ended long before.
        self.join(packets(60, 10))
        self.await_text("capture started", 4)
        self.await_packets(40)
        self.end()
        rows = [row for row in self.fields("frame.number", "frame.comment") if row[1:] != ("",)]
        self.assertEqual([row[0] for row in rows], ["31"], rows)
        self.assertIn("nothing was captured here for", rows[0][1])

    def test_an_agent_that_dials_again_is_no_handover(self):
        """A session that is reset has lost packets, though another one of its agent has begun before."""
        self.begin(data=packets(1, 10))
        self.join(packets(20, 10))
        self.await_text("capture started", 2)
        broken = self.agents[0]
        for end in (broken.data, broken.control):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()
        self.await_text("warning agent gone")
        self.assertNotIn("another one goes on", self.text())
        self.end()

    def test_a_filter_is_named(self):
        program = pathlib.Path(self.folder.name) / "program"
        program.write_text("2\n21 0 1 7\n6 0 0 262144\n".replace("21 0 1 7", "40 0 0 12"))
        for arguments, text in ((("udp", "port", "53"), "Filter string = udp port 53"),
                                (("--bpf", program), "BPF filter length = 2")):
            self.begin(*arguments)
            self.await_packets(1)
            self.end()
            self.assertIn(text, run("capinfos", str(self.file)).stdout)
            self.agents.pop().close()
            self.log.truncate(0)


if __name__ == "__main__":
    unittest.main()
