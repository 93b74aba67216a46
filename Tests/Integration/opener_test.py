"""podwire opener as a process: its rights, its socket, and agents that misbehave.

PODWIRE names the binary. The tests play the agent, in the network namespace of a node with two pods.
"""

import array
import json
import os
import pathlib
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
import unittest

from support.commands import run
from support.namespace import (add_namespace, add_wire, command_in, ip_in, remove_namespaces, run_in)
from support.program import PODWIRE, Program
from support.waiting import PATIENCE_SECONDS, wait_until

PREFIX = f"op{os.getpid()}"
NODE = f"{PREFIX}-node"
REQUEST, ANSWER = b"pwq\1", b"pwa\1"
STEPS = {"namespace": 1, "permission": 2, "identifier": 3, "link": 4, "thread": 5, "entry": 6,
         "socket": 7, "recheck": 8}
EPERM, ESTALE = 1, 116

# What a process without any capability can do with a socket that it was given: the whole ring.
RECEIVER = r"""
import mmap, os, select, socket, struct, sys
status = open("/proc/self/status").read()
held = int(status.split("CapEff:")[1].split()[0], 16)
assert held == 0, hex(held)
try:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    raise SystemExit("it may open packet sockets itself")
except PermissionError:
    pass
given = socket.socket(fileno=int(sys.argv[1]))
SOL_PACKET, ETH_P_ALL = 263, 3
keep_all = struct.pack("HBBI", 6, 0, 0, 65535)
import ctypes
code = ctypes.create_string_buffer(keep_all)
given.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", 1, ctypes.addressof(code)))
given.setsockopt(SOL_PACKET, 10, struct.pack("i", 2))                        # PACKET_VERSION
given.setsockopt(SOL_PACKET, 15, struct.pack("i", 1))                        # PACKET_VNET_HDR
given.setsockopt(SOL_PACKET, 5, struct.pack("7I", 1 << 18, 1, 2048, 128, 20, 0, 0))  # PACKET_RX_RING
ring = mmap.mmap(given.fileno(), 1 << 18)
given.bind(("eth0", ETH_P_ALL))
print("bound", flush=True)
readable, _, _ = select.select([given], [], [], 60)
status, count = struct.unpack_from("II", ring, 8)
print("packets", count, bool(status & 1), flush=True)
"""


def without(*capabilities):
    return ["capsh", f"--drop={','.join(capabilities)}", "--shell=/bin/sh", "--", "-c",
            'exec "$0" "$@"']


class Client:
    """An agent's connection to the opener."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect(str(path))

    def send(self, message, descriptors=()):
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self.socket.sendmsg([message], control if descriptors else [])

    def receive(self):
        """The message and its descriptors; no bytes if the opener has closed the connection."""
        message, descriptors, _, _ = socket.recv_fds(self.socket, 1024, 8)
        return message, descriptors

    def ask(self, numbers, path):
        """The step, the error and the socket of an answer."""
        request = REQUEST + struct.pack(">IiI", *numbers)
        with open(path) as namespace:
            self.send(request, [namespace.fileno()])
        message, descriptors = self.receive()
        assert message[:4] == ANSWER and message[4:20] == request, message
        step, error = struct.unpack(">Ii", message[20:])
        assert len(descriptors) == (step == 0), descriptors
        return step, error, descriptors[0] if descriptors else None


class OpenerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.addClassCleanup(remove_namespaces, f"{PREFIX}-")
        add_namespace(NODE, ipv6=False)
        for pod in ("p1", "p2"):
            add_namespace(f"{PREFIX}-{pod}", ipv6=False)
            add_wire(NODE, pod, f"{PREFIX}-{pod}")

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.folder.chmod(0o755)
        self.path = self.folder / "opener.sock"

    def start(self, *arguments, prefix=(), **variables):
        opener = Program(NODE, "opener", "--opener", self.path, *arguments, prefix=prefix, **variables)
        self.addCleanup(opener.kill)
        opener.await_text("opener listening")
        return opener

    def client(self):
        client = Client(self.path)
        self.addCleanup(client.socket.close)
        return client

    def idle_uses(self, opener):
        """Its descriptors and threads when it has given back what it has handed over."""
        seen = []

        def is_idle():
            seen.append(opener.uses()[:2])
            time.sleep(0.05)
            return len(seen) >= 5 and len(set(seen[-5:])) == 1

        wait_until(is_idle, "the opener's descriptors come and go")
        return seen[-1]

    def numbers(self, pod):
        """The host's index, the namespace's id and the index inside, as ip(8) has them."""
        link = json.loads(ip_in(NODE, "-j", "-d", "link", "show", pod).stdout)[0]
        text = run_in(NODE, "ip", "netns", "list-id").stdout
        found = re.search(rf"nsid (\d+) .*name: {PREFIX}-{pod}\b", text)
        return link["ifindex"], int(found[1]), link["link_index"]

    def file(self, pod):
        return f"/run/netns/{PREFIX}-{pod}"

    def check(self, *prefix):
        return run(*command_in(NODE, *prefix, PODWIRE, "opener", "--check", "--opener", self.path),
                   check=False)

    def test_a_process_without_capabilities_captures_with_what_it_gets(self):
        self.start()
        step, _, given = self.client().ask(self.numbers("p1"), self.file("p1"))
        self.assertEqual(step, 0)
        os.set_inheritable(given, True)
        receiver = subprocess.Popen(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all",
             "--inh-caps=-all", "--no-new-privs", sys.executable, "-c", RECEIVER, str(given)],
            pass_fds=[given], stdout=subprocess.PIPE, text=True)
        self.addCleanup(receiver.kill)
        os.close(given)
        self.assertEqual(receiver.stdout.readline(), "bound\n")
        run_in(NODE, "ip", "addr", "replace", "10.9.0.1/24", "dev", "p1")
        run_in(NODE, "ping", "-c", "3", "-W", "1", "10.9.0.2", check=False)
        line, _ = receiver.communicate(timeout=PATIENCE_SECONDS)
        self.assertRegex(line, r"^packets [1-9]\d* True\n$")
        self.assertEqual(receiver.returncode, 0)

    def test_it_does_not_start_without_its_capabilities(self):
        for capability in ("sys_admin", "net_raw"):
            with self.subTest(capability):
                prefix = without(f"cap_{capability}")
                result = run(*command_in(NODE, *prefix, PODWIRE, "opener", "--opener", self.path),
                             check=False)
                self.assertEqual(result.returncode, 77)
                self.assertRegex(result.stderr, f"needs CAP_{capability.upper()}: .*add it under")
                self.assertFalse(self.path.exists())
                self.assertEqual(self.check(*prefix).returncode, 77)

    def test_two_capabilities_are_enough(self):
        """And neither is NET_ADMIN."""
        opener = self.start(prefix=["setpriv", "--bounding-set=-all,+sys_admin,+net_raw",
                                    "--inh-caps=-all", "--no-new-privs"])
        step, _, given = self.client().ask(self.numbers("p1"), self.file("p1"))
        self.assertEqual(step, 0)
        os.close(given)
        self.assertEqual(opener.stop(), 0)

    def test_its_socket_is_for_its_user_alone(self):
        self.start()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        connect = ("import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); "
                   "s.connect(sys.argv[1]); s.settimeout(60); print(len(s.recv(100)))")
        other = ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-c", connect,
                 str(self.path)]
        self.assertIn("PermissionError", run(*other, check=False).stderr)
        # Even if somebody opens the file up, others get the end of the connection.
        self.path.chmod(0o666)
        self.assertEqual(run(*other).stdout, "0\n")

    def test_probes(self):
        result = self.check()
        self.assertEqual(result.returncode, 69, result.stderr)
        self.assertIn(f"no opener at {self.path}", result.stderr)
        opener = self.start()
        self.assertEqual(self.check().returncode, 0)
        self.assertNotIn("warning", opener.text())
        opener.process.send_signal(signal.SIGSTOP)
        tasks = pathlib.Path(f"/proc/{opener.pid}/task")
        wait_until(lambda: all(") T " in (task / "stat").read_text() for task in tasks.iterdir()),
                   "the opener is not stopped")
        result = self.check()
        opener.process.send_signal(signal.SIGCONT)
        self.assertEqual(result.returncode, 69)
        self.assertIn("does not answer", result.stderr)
        self.assertEqual(opener.stop(), 0)
        self.assertEqual(self.check().returncode, 69)

    def test_a_socket_of_an_opener_before_is_replaced_and_another_file_is_not(self):
        first = self.start()
        first.process.kill()
        first.process.wait()
        self.assertTrue(self.path.exists())
        self.start()
        self.assertEqual(self.check().returncode, 0)
        text = self.folder / "text"
        text.write_text("mine")
        # The opener that runs keeps its socket, too.
        for path, words in ((text, "the file is no socket"), (self.path, "another opener listens there"),
                            (self.folder / "none/socket", f"mkdir -p {self.folder}/none")):
            result = run(*command_in(NODE, PODWIRE, "opener", "--opener", path), check=False)
            self.assertEqual(result.returncode, 71)
            self.assertIn(words, result.stderr)
        self.assertEqual(text.read_text(), "mine")
        self.assertEqual(self.check().returncode, 0)

    def test_it_ends_at_once_at_sigterm(self):
        opener = self.start()
        client = self.client()
        self.assertEqual(client.ask(self.numbers("p1"), self.file("p1"))[0], 0)
        self.assertEqual(opener.stop(), 0)
        self.assertIn("opener stopped", opener.text())
        self.assertEqual(client.receive()[0], b"")

    def test_what_it_refuses(self):
        opener = self.start()
        client = self.client()
        host, number, inside = self.numbers("p1")
        self.assertEqual(client.ask((host, number, inside), self.file("p2"))[:2],
                         (STEPS["identifier"], ESTALE))
        self.assertEqual(client.ask((host, number, inside + 1), self.file("p1"))[:2],
                         (STEPS["link"], ESTALE))
        self.assertEqual(client.ask((0, number, inside), self.file("p1"))[:2],
                         (STEPS["permission"], EPERM))
        self.assertEqual(client.ask((host, number, inside), self.file("node"))[0],
                         STEPS["namespace"])
        self.assertEqual(client.ask((host, number, inside), "/dev/null")[0], STEPS["namespace"])
        opener.await_text("failed to permit interfaces without a host end: Operation not permitted")
        self.assertEqual(len(opener.lines("socket not opened")), 1, opener.text())
        self.assertEqual(client.ask((host, number, inside), self.file("p1"))[0], 0)

    def test_interfaces_without_a_host_end_only_if_told_to(self):
        self.start("--pod-interfaces")
        _, number, inside = self.numbers("p1")
        self.assertEqual(self.client().ask((0, number, inside), self.file("p1"))[0], 0)

    def test_agents_that_misbehave_are_cut_off_and_leave_nothing(self):
        opener = self.start()
        good = self.client()
        self.assertEqual(good.ask(self.numbers("p1"), self.file("p1"))[0], 0)
        before = self.idle_uses(opener)
        request = REQUEST + struct.pack(">IiI", *self.numbers("p1"))
        with open(self.file("p1")) as namespace:
            number = namespace.fileno()
            for message, descriptors in (
                    (b"GET / HTTP/1.1\r\n", []), (request, []), (request, [number] * 2),
                    (request, [number] * 200), (request[:-1], [number]), (request + b"\0", [number]),
                    (b"\0" * 5000, [number]), (b"x", [])):
                bad = self.client()
                bad.send(message, descriptors)
                self.assertEqual(bad.receive()[0], b"", message[:20])
        self.assertEqual(good.ask(self.numbers("p1"), self.file("p1"))[0], 0)
        opener.await_uses(before)

    def test_an_agent_that_reads_no_answers_is_cut_off(self):
        opener = self.start()
        greedy = self.client()
        greedy.socket.setblocking(False)
        request = REQUEST + struct.pack(">IiI", *self.numbers("p1"))
        sent, deadline = 0, time.monotonic() + PATIENCE_SECONDS
        with open(self.file("p1")) as namespace:
            while time.monotonic() < deadline:
                try:
                    greedy.send(request, [namespace.fileno()])
                    sent += 1
                except BlockingIOError:
                    time.sleep(0.001)
                except (BrokenPipeError, ConnectionResetError):
                    break
        self.assertLess(time.monotonic(), deadline, f"{sent} requests are taken")
        self.assertEqual(self.client().ask(self.numbers("p1"), self.file("p1"))[0], 0)
        opener.await_text("agent disconnected")

    def test_2000_pods_leave_nothing(self):
        """In lots of 50, each of which has to be gone before the next one comes."""
        opener = self.start()
        client = self.client()
        client.ask(self.numbers("p1"), self.file("p1"))
        before, memory = self.idle_uses(opener), opener.uses()[2]
        rounds = int(os.environ.get("OPENER_PODS", "200")) // 50
        for turn in range(rounds):
            names = [f"{PREFIX}-n{index}" for index in range(50)]
            batch = self.folder / "batch"
            batch.write_text("".join(f"netns add {name}\n" for name in names))
            run("ip", "-batch", batch)
            batch.write_text("".join(
                f"link add n{index} type veth peer name eth0 netns {name}\n"
                for index, name in enumerate(names)))
            run_in(NODE, "ip", "-batch", batch)
            links = {link["ifname"]: link for link in json.loads(
                ip_in(NODE, "-j", "-d", "link", "show", "type", "veth").stdout)}
            ids = dict(re.findall(rf"nsid (\d+) .*name: {PREFIX}-(n\d+)\b",
                                  run_in(NODE, "ip", "netns", "list-id").stdout))
            begin = time.monotonic()
            sockets = []
            for number, name in ids.items():
                link = links[name]
                step, error, given = client.ask(
                    (link["ifindex"], int(number), link["link_index"]), f"/run/netns/{PREFIX}-{name}")
                self.assertEqual((step, error), (0, 0))
                sockets.append(given)
            self.assertEqual(len(sockets), 50)
            if turn == 0:
                print(f"50 sockets in {(time.monotonic() - begin) * 1000:.0f} ms", file=sys.stderr)
            batch.write_text("".join(f"netns del {name}\n" for name in names))
            run("ip", "-batch", batch)
            for given in sockets:
                os.close(given)
            wait_until(lambda: not re.search(r"\bn\d+@", ip_in(NODE, "-br", "link").stdout),
                       "a pod's namespace is held")
        opener.await_uses(before)
        self.assertLess(opener.uses()[2], memory + (8 << 20))
        self.assertEqual(opener.stop(), 0)
        self.assertNotIn("warning", opener.text())


if __name__ == "__main__":
    unittest.main()
