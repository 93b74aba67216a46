"""What people see on terminals of all sizes, as a terminal emulator shows it."""

import json
import pathlib
import re
import shlex
import struct
import subprocess
import tempfile
import time
import unittest

from support.agent import Agent
from support.bed import Bed
from support.collecting import CollectorCase
from support.commands import run
from support.fake_agents import FRAME, FakeDaemon
from support.namespace import add_wire, add_namespace, command_in, ip_in
from support.program import PODWIRE
from support.rpcap import packet, reply
from support.screen import EMPHASIS, Screen, plain, printed, shown
from support.waiting import wait_until

WIDTHS = (60, 72, 80, 100, 120, 200, 300)
PODNET = "10.244.0.0/16"


class LiveTableTest(CollectorCase):
    """The table of a collector that runs."""

    def screen(self, *arguments, columns=80, lines=24, **keywords):
        screen = Screen(self.namespace, "collect", *arguments, columns=columns, lines=lines,
                        **keywords)
        self.addCleanup(screen.close)
        return screen

    def clear(self, screen):
        """Ends a collector and its agents, for another one to take its port."""
        screen.close()
        for agent in self.agents:
            agent.close()
        self.agents.clear()

    def agents_of(self, screen, count):
        """So many agents, which all capture."""
        screen.await_line("waiting for agents")
        agents = [self.agent(source=f"127.0.1.{number}") for number in range(1, count + 1)]
        for agent in agents:
            self.assertTrue(agent.started.wait(60), screen.display())
        return agents

    def check(self, screen, columns, agent_count):
        """The window has one table of agents, of which each row is one line, and nothing else."""
        # What is drawn may come in two parts.
        self.wait(lambda: screen.display()[-1:] and screen.display()[-1].startswith("total "),
                  "no whole table")
        lines = screen.display()
        heads = [index for index, line in enumerate(lines) if line.startswith("AGENT")]
        self.assertEqual(len(heads), 1, lines)
        table = lines[heads[0] + 1:]
        self.assertRegex(table[-1], "^total ", lines)
        rows = [line for line in table[:-1] if re.match(r"127\.0\.1\.\d", line)]
        rest = [line for line in table[:-1] if line not in rows]
        if len(rows) == agent_count:
            self.assertEqual(rest, [], lines)
        else:
            self.assertEqual(rest, [f"… and {agent_count - len(rows)} more"], lines)
            self.assertEqual(len(lines), screen.emulator.lines - 1, lines)
        for line in lines:
            self.assertLessEqual(len(line), columns, lines)
        return rows

    def await_ticks(self, screen, count):
        """Waits until the table was drawn so many times more."""
        before = screen.output().count("AGENT")
        screen_ticks = lambda: screen.output().count("AGENT") - before >= count
        self.wait(screen_ticks, "the table is not drawn again")

    def test_it_fits_windows_of_all_sizes_and_leaves_nothing_behind(self):
        for columns, lines in ((80, 24), (60, 10), (300, 60), (70, 8)):
            with self.subTest(columns=columns, lines=lines):
                screen = self.screen("-o", self.file, columns=columns, lines=lines)
                self.addCleanup(self.clear, screen)
                self.agents_of(screen, 30)
                screen.await_line("^total ")
                self.wait(lambda: "capturing" in screen.display()[-2] or "more" in
                          screen.display()[-2], "no row")
                self.await_ticks(screen, 3)
                self.check(screen, columns, 30)
                self.assertFalse([line for line in screen.scrollback() if "total" in line])
                screen.end()
                # The final numbers fit as well, and only they have a table now.
                text = screen.scrollback() + screen.display()
                self.assertEqual(len([line for line in text if line.startswith("AGENT")]), 1, text)
                self.assertTrue(all(len(line) <= columns for line in text), text)
            self.doCleanups()

    def test_it_follows_a_window_that_changes_its_size(self):
        screen = self.screen("-o", self.file, columns=120, lines=30)
        self.agents_of(screen, 12)
        screen.await_line("^total ")
        self.await_ticks(screen, 2)
        self.assertEqual(len(self.check(screen, 120, 12)), 12)
        for columns, lines in ((70, 30), (200, 30), (60, 9), (100, 40), (61, 12)):
            with self.subTest(columns=columns, lines=lines):
                screen.resize(columns, lines)
                # It is drawn at once, and not only in its turn.
                self.await_ticks(screen, 2)
                rows = self.check(screen, columns, 12)
                self.assertEqual(len(rows), min(12, lines - 4), screen.display())

    def test_what_is_told_stands_above_the_table(self):
        screen = self.screen("-o", self.file)
        agents = self.agents_of(screen, 3)
        screen.await_line("^total ")
        agents[0].close()
        screen.await_line("agent gone")
        self.await_ticks(screen, 2)
        lines = screen.display()
        head = next(index for index, line in enumerate(lines) if line.startswith("AGENT"))
        gone = next(index for index, line in enumerate(lines) if "agent gone" in line)
        self.assertLess(gone, head, lines)

    def test_numbers_are_aligned_to_the_right_and_added_up(self):
        screen = self.screen("-o", self.file)
        screen.await_line("waiting for agents")
        for number, count in ((1, 3), (2, 400)):
            data = b"".join(packet(FRAME, place + 1) for place in range(count))
            self.agent(data, source=f"127.0.1.{number}")
        lines = screen.await_line(r"^total +403\b")
        head = next(line for line in lines if line.startswith("AGENT"))
        end = head.index("PACKETS ") + len("PACKETS")
        for pattern, count in (("127.0.1.1:", "3"), ("127.0.1.2:", "400"), ("total", "403")):
            line = next(line for line in lines if line.startswith(pattern))
            self.assertTrue(line[:end].endswith(f" {count}"), lines)

    def test_a_narrow_window_has_the_packets_and_what_was_dropped_if_anything_was(self):
        for dropped_count, columns in ((0, ["AGENT", "STATE", "PACKETS"]), (3, ["AGENT", "STATE", "DROPPED"])):
            with self.subTest(dropped_count=dropped_count):
                screen = self.screen("-o", self.file, columns=38)
                screen.await_line("waiting for agents")
                agent = self.agent(packet(FRAME, 1), source="127.0.1.1")
                if not dropped_count:
                    answer = agent.answer
                    agent.answer = lambda kind, payload: (
                        agent.control.sendall(reply(9, struct.pack("!IIII", 7, 0, 0, 7))) if kind == 9
                        else answer(kind, payload))
                screen.await_line(r"^127.0.1.1:.* capturing +%d$" % (dropped_count or 1))
                head = next(line for line in screen.display() if line.startswith("AGENT"))
                self.assertEqual(head.split(), columns)
            self.clear(screen)

    def test_there_are_colours_on_a_terminal_only_and_for_those_who_want_them(self):
        for arguments, variables, has_colours in (
                ((), {}, True), (("--no-color",), {}, False), ((), {"NO_COLOR": "1"}, False),
                ((), {"NO_COLOR": ""}, True)):
            with self.subTest(arguments=arguments, variables=variables):
                screen = self.screen("-o", self.file, *arguments, **variables)
                self.agents_of(screen, 2)
                screen.await_line("^total ")
                self.assertEqual(bool(EMPHASIS.search(screen.output())), has_colours)
                screen.end()
            self.clear(screen)

    def test_a_terminal_that_cannot_move_its_cursor_gets_lines(self):
        screen = self.screen("-o", self.file, TERM="dumb")
        screen.await_line("listening")
        self.agent()
        screen.await_line("agent connected")
        screen.end()
        self.assertNotIn("\x1b", screen.output())


class DraggedWindowTest(CollectorCase):
    """A live table in tmux, which breaks lines anew at each width that a dragged window has."""

    WHOLE = ["AGENT", "DEVICE", "STATE", "PACKETS", "PACKETS/S", "BYTES/S", "DROPPED", "LOST", "SINCE"]
    TOLD = [f"line {number} of before" for number in range(6)]

    def tmux(self, *arguments):
        return run("tmux", "-S", f"{self.place}/socket", "-f", "/dev/null", *map(str, arguments)).stdout

    def begin(self, *arguments, then="true"):
        """Runs podwire below some lines that are to stay, and then a command of a shell, which has jobs."""
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = place.name
        told, command = (shlex.join(map(str, words)) for words in (
            self.TOLD, command_in(self.namespace, PODWIRE, *arguments)))
        script = f"printf '%s\\n' {told}; {command}; {then}"
        self.tmux("new-session", "-d", "-x", 100, "-y", 30, shlex.join(["bash", "-mc", script]))
        self.addCleanup(self.tmux, "kill-server")

    def lines(self):
        """The lines of the window and of its history."""
        return self.tmux("capture-pane", "-p", "-S", "-").rstrip("\n").split("\n")

    def await_line(self, is_meant):
        wait_until(lambda: any(map(is_meant, self.lines())), lambda: "\n".join(self.lines()))

    def drag(self, sizes, head):
        """Changes the window's size in steps, and waits for the one table that is to be left."""
        for columns, lines in sizes:
            self.tmux("resize-window", "-x", columns, "-y", lines)
            # As a hand drags.
            time.sleep(0.05)
        self.await_line(lambda line: line.split() == head)
        lines = self.lines()
        self.assertEqual(lines[:len(self.TOLD)], self.TOLD, lines)
        table = lines[len(self.TOLD):]
        self.assertEqual(table[0].split(), head, lines)
        self.assertRegex(table[-1], "^total ", lines)
        self.assertFalse([line for line in table[1:-1] if not re.match(r"127\.0\.0\.1:|… and", line)], lines)

    def begin_collector(self, count, **keywords):
        """Runs a collector with a row for each agent that it dials in vain."""
        self.begin("collect", "-o", self.file, "--log-level", "error", "--no-color",
                   *(f"--from=rpcap://127.0.0.1:{port}" for port in range(1, count + 1)), **keywords)
        self.await_line(lambda line: line.startswith("127.0.0.1:1 "))

    def test_it_stays_whole_and_takes_nothing_away(self):
        self.begin_collector(4)
        self.drag([(columns, 30) for columns in range(98, 60, -4)],
                  ["AGENT", "STATE", "PACKETS", "PACKETS/S", "DROPPED", "LOST"])
        self.drag([(columns, 30) for columns in range(62, 112, 4)], self.WHOLE)
        # In what is narrower still, the losses stay.
        self.drag([(110 - 5 * step, 30 - step) for step in range(13)],
                  ["AGENT", "STATE", "PACKETS", "DROPPED", "LOST"])

    def test_one_that_fills_a_window_that_gets_lower_leaves_nothing_behind(self):
        self.begin_collector(40)
        for lines in (12, 40, 9):
            self.drag([(100, lines)], self.WHOLE)
            wait_until(lambda: len(self.lines()) == len(self.TOLD) + lines - 1, lambda: "\n".join(self.lines()))

    def test_it_stays_above_what_comes_while_the_program_is_stopped(self):
        self.begin_collector(1, then="echo in between; read; fg; echo ended; cat")
        self.tmux("send-keys", "C-z")
        self.await_line(lambda line: line == "in between")
        before = self.lines()
        [head] = [index for index, line in enumerate(before) if line.startswith("AGENT")]
        self.assertEqual(before[:head], self.TOLD)
        self.assertRegex(before[head + 1], "^127.0.0.1:1 ")
        self.tmux("send-keys", "Enter")
        # The new table takes nothing away, and is drawn over itself.
        wait_until(lambda: [line for line in self.lines()[len(before):] if line.startswith("AGENT")],
                   lambda: "\n".join(self.lines()))
        self.assertEqual(self.lines()[:len(before)], before)
        self.tmux("send-keys", "C-c")
        self.await_line(lambda line: line == "ended")
        self.assertEqual(self.lines()[:len(before)], before)


class ConversationsTest(unittest.TestCase):
    """Who talks to whom, in a file."""

    def test_the_table_fits_any_width(self):
        bed = Bed("tt")
        self.addCleanup(bed.remove)
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "x.pcap"
            capture = subprocess.Popen(
                command_in(bed.node, "tcpdump", "-i", "veth-pod", "-w", file, "-c", "10", "icmp"),
                stderr=subprocess.PIPE, text=True)
            while "listening on" not in capture.stderr.readline():
                pass
            bed.ping(5)
            capture.wait(60)
            capture.stderr.close()
            for columns in WIDTHS:
                lines = printed(bed.node, "top", file, columns=columns)
                self.assertEqual(shown(lines, columns), [plain(line) for line in lines][:-1])
                self.assertIn("CLIENT", "\n".join(lines))


class StaticTest(unittest.TestCase):
    """What commands print once."""

    @classmethod
    def setUpClass(cls):
        cls.bed = Bed("ts")
        # Pods of long names cannot be had without a runtime; long names of interfaces can.
        for number in range(12):
            pod = f"{cls.bed.prefix}-pod{number}"
            add_namespace(pod)
            add_wire(cls.bed.node, f"veth-long-{number:05}", pod)
            ip_in(pod, "addr", "add", f"10.244.2.{number + 1}/24", "dev", "eth0")
            ip_in(pod, "addr", "add", f"fd00:10:244:2::{number + 1:x}/64", "dev", "eth0", "nodad")

    @classmethod
    def tearDownClass(cls):
        cls.bed.remove()

    def check(self, *arguments, words=(), **variables):
        """A command fits windows of all widths, breaks no word that fits, and says the same in all."""
        for columns in WIDTHS:
            with self.subTest(command=arguments[0], columns=columns):
                lines = printed(self.bed.node, *arguments, columns=columns, **variables)
                text = [plain(line) for line in lines]
                while text and not text[-1]:
                    text.pop()
                self.assertEqual(shown(lines, columns), text)
                for word in words:
                    self.assertIn(word, " ".join(" ".join(text).split()))

    def test_findings_of_the_doctor(self):
        self.check("doctor", "--pod-network", PODNET, "--sensor", "192.0.2.1",
                   words=("pod networks", "means: ", "do: "))

    def test_lists_of_edges(self):
        self.check("edges", "--pod-network", PODNET,
                   words=("INTERFACE", "veth-long-00011", "13 interfaces: 13 captured"))

    def test_examples_in_the_help_are_whole_lines(self):
        # A line that is broken would be two commands where it is pasted.
        dump = json.loads(run(PODWIRE, "--experimental-dump-help").stdout)["command"]
        commands = [(command["commandName"], command.get("discussion") or "") for command in dump["subcommands"]]
        examples = [(name, line) for name, text in commands for line in text.splitlines() if line.startswith("  ")]
        self.assertGreater(len(examples), 20)
        for name, line in examples:
            with self.subTest(command=name, line=line):
                self.assertLessEqual(len(line), 80)
                self.assertIn(line, run(PODWIRE, name, "--help").stdout.splitlines())

    def test_explanations(self):
        self.check("explain", "--pod-network", PODNET, "tcp", "10.244.1.2:40000",
                   "10.244.2.3:80", words=("REPORTED", "DIRECTION", "has the lower port"))

    def test_programs_and_filters(self):
        self.check("filter", "port 53 and net 10.0.0.0/8", words=("ret",))
        self.check("explain", "--pod-network", PODNET, "--program", "veth-long-00001",
                   words=("ret",))

    def test_failures(self):
        self.check("agent", "--pod-network", PODNET, "--sensor", "a:b:c",
                   words=("an IPv6 address with a port belongs in brackets", "comma-separated"))
        self.check("edges", "--pod-network", PODNET, "--sensors", "a", words=("Unknown option '--sensors'",))
        self.check("adgent", words=("no command 'adgent': did you mean 'agent'?",))
        words = [f"host 10.0.0.{number} or" for number in range(20)]
        self.check("filter", " ".join([*words, "hsot payments-backend.production.svc.cluster.local or", *words, "ip"]),
                   words=("did you mean 'host'?",))
        # The carets are below their word, whatever the width.
        for columns in WIDTHS:
            text = [plain(line) for line in printed(
                self.bed.node, "filter", " ".join([*words, "hsot 10.0.0.1 or", *words, "ip"]), columns=columns)]
            [carets] = [index for index, line in enumerate(text) if "^^^^" in line]
            self.assertEqual(text[carets].index("^^^^"), text[carets - 1].index("hsot"), text)
        # In a pipe each has a line.
        done = run(*command_in(self.bed.node, PODWIRE, "agent", "--sensor", "a:b:c"), check=False)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_lists_of_devices(self):
        daemon = FakeDaemon(self.bed.node)
        self.addCleanup(daemon.close)
        self.check("collect", "--from", "rpcap://127.0.0.1", "--list",
                   words=("rpcap://127.0.0.1:2002/eth0", "text"))

    def test_a_list_has_whole_texts_and_urls_that_can_be_dialled(self):
        agent = Agent(self.bed, (), ("--listen", "127.0.0.1:2002", "--allow-null-login"),
                      EXTRAHOP_SENSOR_IP="")
        self.addCleanup(agent.kill)
        agent.await_text("istening for clients")
        done = run(*command_in(self.bed.node, PODWIRE, "collect", "--from",
                               "rpcap://127.0.0.1", "--list", "--json"))
        devices = {device["name"]: device for device in json.loads(done.stdout)[0]["devices"]}
        device = devices["veth-long-00003"]
        self.assertIn("fd00:10:244:2::4", device["description"])
        self.assertEqual(device["url"], "rpcap://127.0.0.1:2002/veth-long-00003")
        again = run(*command_in(self.bed.node, PODWIRE, "collect", "--from", device["url"],
                                "--list", "--json"))
        self.assertEqual(json.loads(again.stdout)[0]["devices"], list(devices.values()))

    def test_colours_are_for_terminals(self):
        command = ("doctor", "--pod-network", PODNET)
        text = "\n".join(printed(self.bed.node, *command, columns=80))
        self.assertRegex(text, "\x1b\\[1;31mfailed|\x1b\\[33mwarning|\x1b\\[32mok")
        for arguments, variables in ((("--no-color",), {}), ((), {"NO_COLOR": "1"}),
                                     ((), {"TERM": "dumb"})):
            text = "\n".join(
                printed(self.bed.node, *command, *arguments, columns=80, **variables))
            self.assertNotIn("\x1b", text)
        done = run(*command_in(self.bed.node, PODWIRE, *command), check=False)
        self.assertNotIn("\x1b", done.stdout + done.stderr)

    @staticmethod
    def edges(screen):
        return len([line for line in screen.display() if line.startswith("veth")])

    def test_a_low_window_has_room_for_a_reason(self):
        screen = Screen(self.bed.node, "edges", "--pod-network", PODNET, "--exclude-edges", "veth-long-00003",
                        "--watch", columns=140, lines=12)
        self.addCleanup(screen.close)
        lines = screen.await_line(r"^left out \(.*: veth-long-00003")
        self.assertFalse([line for line in lines if "more lines" in line], lines)
        self.assertEqual(screen.end(), 0)

    def test_edges_that_are_watched_fit_the_window_and_follow_it(self):
        screen = Screen(self.bed.node, "edges", "--pod-network", PODNET, "--watch", columns=100,
                        lines=10)
        self.addCleanup(screen.close)
        self.assertEqual(len(screen.await_line("… and [0-9]+ more")), 9)
        for columns, height in ((60, 30), (140, 8), (80, 24)):
            screen.resize(columns, height)
            # The head, an empty line, the sums, and the line that says how many are left out.
            count = 13 if height > 17 else height - 5
            wait_until(lambda: self.edges(screen) == count, lambda: screen.display())
            lines = screen.display()
            self.assertEqual(len([line for line in lines if "INTERFACE" in line]), 1, lines)
            self.assertTrue(all(len(line) <= columns for line in lines), lines)
        # An edge that comes and goes is drawn over.
        pod = f"{self.bed.prefix}-late"
        add_namespace(pod)
        add_wire(self.bed.node, "veth-late", pod)
        screen.await_line("14 interfaces")
        ip_in(self.bed.node, "link", "del", "veth-late")
        screen.await_line("13 interfaces: 13 captured")
        lines = screen.display()
        self.assertEqual(len([line for line in lines if "INTERFACE" in line]), 1, lines)
        self.assertEqual(screen.end(), 0)
        # It stays, and what comes next is below it.
        self.assertEqual(screen.display(), lines)
        self.assertEqual(screen.emulator.cursor.y, len(lines))


if __name__ == "__main__":
    unittest.main()
