"""Much traffic for long: millions of packets leave the agent as it was, and cost it no allocation.

PODWIRE names the binary. LOAD_PACKETS says how many packets the soak takes.
"""

import mmap
import os
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile
import time
import unittest

from support import HERE
from support.commands import run
from support.feed import FeedBed, SensorProcess
from support.namespace import python_in
from support.program import Program
from support.waiting import wait_until

LOAD_PACKETS = int(os.environ.get("LOAD_PACKETS", 4_000_000))
MEASURED_PACKETS = 300_000
# One allocation for so many is none for each; a few there are, as when a ring grows.
PACKETS_PER_ALLOCATION = 10_000
FORWARDER = "podwire-forward"
MEMORY_GROWTH_MAX = 1 << 20
# Far more than they take on a busy machine.
LOAD_SECONDS_MAX = 600

# As many small datagrams as the machine makes: 60 bytes, 32 with each call.
DATAGRAMS = r"""
import socket
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
out.setsockopt(socket.IPPROTO_UDP, 103, 18)  # UDP_SEGMENT
size = 18 * 32
while True:
    try:
        out.sendto(b"." * size, ("10.244.0.1", 9))
    except OSError:
        # Older kernels want an interface that finishes checksums.
        out.setsockopt(socket.IPPROTO_UDP, 103, 0)
        size = 18
"""
# What comes in over one connection is thrown away.
RECEIVER = r"""
import socket
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("10.244.0.1", 5001))
listener.listen()
print("ready", flush=True)
connection = listener.accept()[0]
while connection.recv(1 << 20, socket.MSG_TRUNC):
    pass
"""
# Large writes, of which the kernel makes frames of up to 64 KiB; not so many that the rings are
# always full.
STREAM = r"""
import socket, time
connection = socket.create_connection(("10.244.0.1", 5001))
while True:
    connection.sendall(bytes(1 << 17))
    time.sleep(0.0005)
"""


def compile_library(folder):
    """Returns the path of what counts allocations, made by whatever compiler there is."""
    swift = shutil.which("swift")
    candidates = ["cc", "clang", "gcc"]
    if swift:
        # Part of the toolchain; behind a launcher, `swift` is not where the toolchain is.
        target = run(swift, "-print-target-info").stdout
        resources = re.search(r'"runtimeResourcePath":\s*"([^"]+)"', target)[1]
        candidates.append(str(pathlib.Path(resources).parent.parent / "bin" / "clang"))
    compiler = next(found for name in candidates if (found := shutil.which(name)))
    library = f"{folder}/allocations.so"
    run(compiler, "-shared", "-fPIC", "-O2", "-fno-builtin", "-o", library,
        str(HERE / "allocations.c"))
    return library


class Allocations:
    """How often each thread of a program has allocated something."""

    BYTES = 8 + 16 * 1024

    def __init__(self, folder):
        self.variables = {"LD_PRELOAD": compile_library(folder), "ALLOCATIONS": f"{folder}/counts"}
        with open(self.variables["ALLOCATIONS"], "w+b") as file:
            file.truncate(self.BYTES)
            self.memory = mmap.mmap(file.fileno(), self.BYTES)

    def of(self, agent, name):
        """What the threads of this name have allocated. Each begins with some."""
        numbers = {int(task.name) for task in pathlib.Path(f"/proc/{agent.pid}/task").iterdir()
                   if (task / "comm").read_text().strip() == name}
        used = struct.unpack_from("=Q", self.memory)[0]
        pairs = [struct.unpack_from("=QQ", self.memory, 8 + 16 * index) for index in range(used)]
        counts = [count for thread, count in pairs if thread in numbers]
        assert counts, f"no {name} among {pairs}"
        return sum(counts)


class LoadTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.bed = FeedBed(sensors=1)
        self.addCleanup(self.bed.remove)
        self.sensor = SensorProcess(self.bed, 0, "discard")
        self.addCleanup(self.sensor.close)

    def start(self, prefix=(), **variables):
        self.agent = Program(self.bed.name("node"), "agent", prefix=prefix,
                             EXTRAHOP_SENSOR_IP=self.sensor.address, PODNET="10.244.0.0/16",
                             **variables)
        self.addCleanup(self.agent.kill)
        self.agent.await_text("capture started")

    def python(self, name, program, **keywords):
        process = subprocess.Popen(
            python_in(self.bed.name(name), program), **keywords)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def sent(self):
        """How many bytes have left for the sensor."""
        return int(self.bed.inside("node", "cat", "/sys/class/net/sensor0/statistics/tx_bytes"))

    def await_packets(self, count, size=88):
        """Waits until the sensor has so many more packets; each is so long with its header."""
        begin = self.sent()
        wait_until(lambda: self.sent() - begin >= count * size, lambda: self.agent.text()[-4000:],
                   LOAD_SECONDS_MAX, interval=0.05)

    def test_millions_of_packets(self):
        # On one processor no second thread comes to help, which would be growth.
        self.start(PODWIRE_CPUS=str(min(os.sched_getaffinity(0))))
        flood = self.python("pod0", DATAGRAMS)
        # The rings have grown by then, and the queue has been as long as it gets.
        self.await_packets(1_000_000)
        before = self.agent.uses()
        begin = time.monotonic()
        self.await_packets(LOAD_PACKETS)
        rate = LOAD_PACKETS / (time.monotonic() - begin)
        after = self.agent.uses()
        flood.kill()
        self.assertEqual(self.agent.stop(), 0, self.agent.text()[-4000:])
        counts = self.agent.counts()
        print(f"{rate:.0f} packets/s, {counts['dropped_by_ring']} of {counts['matched']} dropped, "
              f"{after[2] - before[2]} bytes more", end=" ", flush=True)
        self.assertEqual(before[:2], after[:2], "descriptors and threads")
        self.assertLess(after[2] - before[2], MEMORY_GROWTH_MAX)
        self.assertGreaterEqual(counts["sent"], LOAD_PACKETS)

    def check_allocations(self, begin, size):
        """The thread that forwards allocates nothing for packets of so many bytes with their
        headers. Returns the capture's counts."""
        allocations = Allocations(self.folder)
        self.start(prefix=("env", *(f"{name}={value}"
                                    for name, value in allocations.variables.items())))
        begin()
        self.await_packets(MEASURED_PACKETS, size)
        # A ring may grow meanwhile, which takes some. What each packet took would be in all of them.
        measured = [self.allocations_per_packet(allocations, size) for _ in range(3)]
        self.assertLess(min(measured), 1 / PACKETS_PER_ALLOCATION)
        self.assertEqual(self.agent.stop(), 0, self.agent.text()[-4000:])
        return self.agent.counts()

    def allocations_per_packet(self, allocations, size):
        before, sent_before = allocations.of(self.agent, FORWARDER), self.sent()
        self.await_packets(MEASURED_PACKETS, size)
        after, sent_after = allocations.of(self.agent, FORWARDER), self.sent()
        packets = (sent_after - sent_before) // size
        print(f"{after - before} for {packets} packets", end=" ", flush=True)
        self.assertGreater(before, 0)
        return (after - before) / packets

    def test_packets_as_they_are_need_no_allocation(self):
        self.bed.inside("pod0", "ethtool", "-K", "eth0", "tx", "off")
        counts = self.check_allocations(lambda: self.python("pod0", DATAGRAMS), 88)
        self.assertLess(counts.get("checksums_finished", 0), 0.01 * counts["forwarded"])

    def test_unfinished_checksums_need_no_allocation(self):
        counts = self.check_allocations(lambda: self.python("pod0", DATAGRAMS), 88)
        self.assertGreater(counts["checksums_finished"], 0.9 * counts["forwarded"])

    def test_frames_that_are_cut_need_no_allocation(self):
        def begin():
            self.bed.ip("pod0", "link", "set", "eth0", "gso_max_segs", "65535")
            receiver = self.python("node", RECEIVER, stdout=subprocess.PIPE)
            self.addCleanup(receiver.stdout.close)
            receiver.stdout.readline()
            self.python("pod0", STREAM)

        counts = self.check_allocations(begin, 28 + 1514)
        self.assertGreater(counts["segments"], MEASURED_PACKETS)


if __name__ == "__main__":
    unittest.main()
