"""podwire on a terminal, and what a terminal emulator shows of it."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading

import pyte

from support.namespace import command_in
from support.program import PODWIRE
from support.waiting import PATIENCE_SECONDS, wait_until

# The sequences that give a text colours and weight (ECMA-48, SGR).
EMPHASIS = re.compile(r"\x1b\[[0-9;]*m")


class Screen:
    """podwire on a pseudoterminal of its own, which an emulator shows.

    `output` is where standard output goes, if not to the terminal."""

    def __init__(self, namespace, *arguments, columns=80, lines=24, output=None, **variables):
        self.controller, terminal = pty.openpty()
        self.lock = threading.Lock()
        self.bytes = bytearray()
        self.emulator = pyte.HistoryScreen(columns, lines, history=10_000)
        self.stream = pyte.ByteStream(self.emulator)
        self.set_size(columns, lines)
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        self.process = subprocess.Popen(
            command_in(namespace, PODWIRE, *arguments), start_new_session=True,
            stdin=terminal, stdout=output or terminal, stderr=terminal,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**environment, "TERM": "xterm-256color", **variables})
        os.close(terminal)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def set_size(self, columns, lines):
        fcntl.ioctl(self.controller, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self):
        try:
            while data := os.read(self.controller, 65536):
                with self.lock:
                    self.bytes += data
                    self.stream.feed(data)
        except OSError:
            # The program, which was the last on the terminal, has ended.
            pass

    def resize(self, columns, lines):
        """Gives the window another size, as dragging its corner does."""
        with self.lock:
            self.emulator.resize(lines=lines, columns=columns)
            self.set_size(columns, lines)

    def display(self):
        """The lines that the window shows, without the empty ones at its end."""
        with self.lock:
            lines = [line.rstrip() for line in self.emulator.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def scrollback(self):
        """The lines that have left the window at its top."""
        with self.lock:
            return ["".join(row[column].data for column in sorted(row)).rstrip()
                    for row in self.emulator.history.top]

    def output(self):
        """All that was written."""
        with self.lock:
            # The last character may have come in part.
            return self.bytes.decode(errors="ignore")

    def await_line(self, pattern):
        """Waits until the window shows a line, and returns all lines."""
        def found():
            lines = self.display()
            return any(re.search(pattern, line) for line in lines) and lines

        return wait_until(found, lambda: "no %r in\n%s" % (pattern, "\n".join(self.display())))

    def end(self, number=signal.SIGINT):
        """Ends the program, and returns its exit code when all that it has written is there."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        code = self.process.wait(PATIENCE_SECONDS)
        self.reader.join(PATIENCE_SECONDS)
        return code

    def close(self):
        if self.controller is None:
            return
        self.process.kill()
        self.wait()
        os.close(self.controller)
        self.controller = None


def printed(namespace, *arguments, columns, **variables):
    """What a command prints on a terminal, in lines, with its colours."""
    screen = Screen(namespace, *arguments, columns=columns, lines=50, **variables)
    try:
        screen.wait()
        return screen.output().replace("\r\n", "\n").split("\n")
    finally:
        screen.close()


def shown(lines, columns):
    """What an emulator shows of lines: another list if a line was too long for it."""
    emulator = pyte.Screen(columns, len(lines) + 100)
    pyte.Stream(emulator).feed("\r\n".join(lines))
    text = "\n".join(line.rstrip() for line in emulator.display)
    return text.rstrip("\n").split("\n")


def plain(line):
    """A line without colours, and without the spaces at its end."""
    return EMPHASIS.sub("", line).rstrip()
