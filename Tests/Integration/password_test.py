"""The password command as its users start it: at a terminal, behind a pipe, and into a file.

PODWIRE names the binary.
"""

import base64
import fcntl
import hashlib
import os
import pathlib
import pty
import select
import signal
import socket
import stat
import subprocess
import tempfile
import termios
import threading
import unittest

PODWIRE = os.environ["PODWIRE"]
FIRST = "Password for alice: "
SECOND = "The same once more: "


def piped(*arguments, password=b"", folder=None):
    return subprocess.run([PODWIRE, "password", *arguments], input=password, capture_output=True,
                          timeout=60, cwd=folder)


def matches(line, name, password):
    found, _, text = line.partition(":")
    empty, scheme, count, salt, value = text.split("$")
    assert (found, empty, scheme, count) == (name, "", "pbkdf2-sha512", "210000"), line
    return hashlib.pbkdf2_hmac("sha512", password, base64.b64decode(salt, validate=True),
                               int(count), 32) == base64.b64decode(value, validate=True)


class Terminal:
    """The command at a terminal of its own; what it shows is in `shown`, what it prints is not."""

    def __init__(self, command, *arguments):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.shown = ""
        self.process = subprocess.Popen(
            [PODWIRE, command, *arguments], stdin=self.slave, stderr=self.slave,
            stdout=subprocess.PIPE, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def await_text(self, text):
        while text not in self.shown:
            ready, _, _ = select.select([self.master], [], [], 20)
            assert ready, f"no {text!r} in {self.shown!r}"
            self.shown += os.read(self.master, 4096).decode()

    def answer(self, question, text):
        self.await_text(question)
        os.write(self.master, text)

    def end(self):
        output, _ = self.process.communicate(timeout=20)
        while select.select([self.master], [], [], 0)[0]:
            self.shown += os.read(self.master, 4096).decode()
        return self.process.returncode, output.decode()

    def is_as_before(self):
        return termios.tcgetattr(self.slave) == self.before

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        os.close(self.master)
        os.close(self.slave)


class PasswordTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.file = pathlib.Path(self.folder.name) / "users"

    def tearDown(self):
        self.folder.cleanup()

    def terminal(self, *arguments, command="password"):
        terminal = Terminal(command, *arguments)
        self.addCleanup(terminal.close)
        return terminal

    def put(self, name, password):
        done = piped(name, "--file", str(self.file), password=password)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, b"")

    def test_a_line_of_standard_input_is_hashed(self):
        for given, password in ((b"secret", b"secret"), (b"secret\nmore\n", b"secret"),
                                ("pä ss\r".encode() + b"\n", "pä ss\r".encode()),
                                (b"x" * 1024 + b"\n", b"x" * 1024)):
            with self.subTest(given[:20]):
                done = piped("alice", password=given)
                self.assertEqual((done.returncode, done.stderr), (0, b""))
                self.assertTrue(matches(done.stdout.decode().rstrip("\n"), "alice", password))

    def test_what_cannot_be_used_is_refused(self):
        for name, given, text in (
                ("alice", b"", "there is no password"), ("alice", b"\nx", "there is no password"),
                ("alice", b"x" * 1025, "at most 1024 bytes"),
                ("alice", b"x" * 1_000_000, "at most 1024 bytes"),
                ("", b"x", "there is no name"), ("a:b", b"x", "cannot have a colon"),
                ("a\nb", b"x", "cannot have control characters"), ("#a", b"x", "begin with #"),
                ("a" * 256, b"x", "more than 255 bytes")):
            with self.subTest((name, text)):
                done = piped(name, password=given)
                self.assertEqual((done.returncode, done.stdout), (64, b""))
                self.assertIn(text, done.stderr.decode())

    def test_a_terminal_is_asked_twice_and_shows_nothing(self):
        terminal = self.terminal("alice")
        terminal.answer(FIRST, b"secret\n")
        terminal.answer(SECOND, b"secret\n")
        code, output = terminal.end()
        self.assertEqual(code, 0, terminal.shown)
        self.assertTrue(matches(output.rstrip("\n"), "alice", b"secret"))
        self.assertEqual(terminal.shown, f"{FIRST}\r\n{SECOND}\r\n")
        self.assertTrue(terminal.is_as_before())

    def test_two_different_answers_are_refused(self):
        terminal = self.terminal("alice", "--file", str(self.file))
        terminal.answer(FIRST, b"secret\n")
        terminal.answer(SECOND, b"sercet\n")
        self.assertEqual(terminal.end(), (64, ""))
        self.assertIn("two different passwords", terminal.shown)
        self.assertTrue(terminal.is_as_before())
        self.assertFalse(self.file.exists())

    def test_collect_asks_for_the_password_of_its_agents(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(20)
            url = f"rpcap://eve@127.0.0.1:{server.getsockname()[1]}"
            terminal = self.terminal("--from", url, "--list", command="collect")
            terminal.answer(f"Password for 127.0.0.1:{server.getsockname()[1]}: ", b"our secret\n")
            agent, _ = server.accept()
            with agent:
                agent.settimeout(20)
                said = b""
                while b"our secret" not in said:
                    part = agent.recv(4096)
                    self.assertTrue(part, said)
                    said += part
            self.assertIn(b"eve", said)
            self.assertEqual(terminal.end()[0], 69)
        self.assertNotIn("our secret", terminal.shown)
        self.assertTrue(terminal.is_as_before())
        # Nothing that is typed is no password, and a signal ends the program as ever.
        terminal = self.terminal("--from", url, "--list", command="collect")
        terminal.answer("Password for", b"\n")
        self.assertEqual(terminal.end()[0], 64)
        self.assertIn("PODWIRE_COLLECT_PASSWORD", terminal.shown)
        terminal = self.terminal("--from", url, "--list", command="collect")
        terminal.answer("Password for", b"\x03")
        self.assertEqual(terminal.end()[0], -signal.SIGINT)
        self.assertTrue(terminal.is_as_before())

    def test_an_end_of_input_at_the_terminal_is_no_password(self):
        terminal = self.terminal("alice")
        terminal.answer(FIRST, b"\x04")
        terminal.answer(SECOND, b"\x04")
        self.assertEqual(terminal.end(), (64, ""))
        self.assertIn("there is no password", terminal.shown)

    def test_signals_end_it_and_leave_the_terminal_as_it_was(self):
        for number, key in ((signal.SIGINT, b"\x03"), (signal.SIGQUIT, b"\x1c"),
                            (signal.SIGTERM, None), (signal.SIGHUP, None)):
            with self.subTest(number):
                terminal = self.terminal("alice")
                # One write, so that the kernel has taken in the second line's beginning before
                # anybody can have read the first line.
                terminal.answer(FIRST, b"secret\nsec")
                terminal.await_text(SECOND)
                self.assertFalse(terminal.is_as_before())
                if key:
                    os.write(terminal.master, key)
                else:
                    terminal.process.send_signal(number)
                self.assertEqual(terminal.end(), (-number, ""))
                self.assertTrue(terminal.is_as_before())
                self.assertNotIn("sec", terminal.shown)

    def test_a_file_gets_new_lines_and_keeps_the_others(self):
        self.put("alice", b"one")
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        alice = self.file.read_text()
        self.file.write_text(f"# who may log in\n\n{alice}# bob is next")
        self.file.chmod(0o644)
        self.put("bob", b"two")
        self.put("alice", b"three")
        lines = self.file.read_text().split("\n")
        self.assertEqual([lines[n] for n in (0, 1, 3, 5)],
                         ["# who may log in", "", "# bob is next", ""])
        self.assertEqual(len(lines), 6)
        self.assertTrue(matches(lines[2], "alice", b"three"))
        self.assertTrue(matches(lines[4], "bob", b"two"))
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(self.folder.name), ["users"])

    def test_a_link_stays_a_link_and_a_name_may_have_no_folder(self):
        self.put("alice", b"one")
        link = pathlib.Path(self.folder.name) / "link"
        link.symlink_to("users")
        done = piped("bob", "--file", "link", password=b"two", folder=self.folder.name)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(link.is_symlink())
        self.assertEqual(len(self.file.read_text().splitlines()), 2)

    def test_a_file_that_is_wrong_stays_as_it_is(self):
        self.file.write_text("alice:secret\n")
        done = piped("bob", "--file", str(self.file), password=b"x")
        self.assertEqual(done.returncode, 64)
        self.assertIn(f"{self.file}, line 1: what follows alice: is not the hash of a password",
                      done.stderr.decode())
        self.assertNotIn("secret", done.stderr.decode())
        self.assertEqual(self.file.read_text(), "alice:secret\n")
        missing = pathlib.Path(self.folder.name) / "missing" / "users"
        self.assertEqual(piped("bob", "--file", str(missing), password=b"x").returncode, 73)

    def test_edits_at_the_same_time_are_all_there_afterwards(self):
        names = [f"user{number}" for number in range(12)]
        threads = [threading.Thread(target=self.put, args=(name, b"x")) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = self.file.read_text().splitlines()
        self.assertEqual(sorted(line.split(":")[0] for line in lines), sorted(names))


if __name__ == "__main__":
    unittest.main()
