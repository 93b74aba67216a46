"""Capture files that other programs made, or that are made to do harm, as `podwire explain` reads them.

PODWIRE names the binary. On the node there is no pod, so it counts all frames as those of no pod.
"""

import collections
import gzip
import json
import lzma
import os
import pathlib
import re
import socket
import struct
import subprocess
import tempfile
import unittest

from support import frames, pcap
from support.commands import run
from support.namespace import add_namespace, command_in, remove_namespaces
from support.pcap import block, interface, section
from support.program import PODWIRE

NODE = f"ft{os.getpid()}-node"
FRAME = bytes.fromhex("02000000000a02000000000188b5") + bytes(range(46))
# What podwire takes for itself, and some more, but not as much as a block or what is decompressed.
RESIDENT_BYTES_MAX = 96 << 20


def setUpModule():
    add_namespace(NODE)


def tearDownModule():
    remove_namespaces(NODE)


def names(table):
    """A name resolution block of IPv4 addresses."""
    content = b""
    for address, name in table.items():
        record = socket.inet_aton(address) + name.encode() + b"\0"
        content += struct.pack("<HH", 1, len(record)) + record + bytes(-len(record) % 4)
    return block("<", 4, content + bytes(4))


def segment(source, destination, source_port, destination_port, flags, payload=b""):
    """A frame with a TCP segment."""
    head = struct.pack("!HHIIBBHHH", source_port, destination_port, 1, 1, 0x50, flags, 1000, 0, 0)
    return frames.ethernet(bytes(6), bytes(6), frames.IPV4, frames.ipv4(
        source, destination, socket.IPPROTO_TCP, head + payload))


def packet(order, frame=FRAME):
    return pcap.packet(order, frame)


def obsolete_packet(order, frame=FRAME):
    return block(order, 2, struct.pack(f"{order}HHIIII", 0, 0, 0, 7, len(frame), len(frame)) + frame)


def simple_packet(order, frame=FRAME):
    return block(order, 3, struct.pack(f"{order}I", len(frame)) + frame)


class FilesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.file = self.folder / "file"

    def explain(self, path, stdin=None):
        """Returns the exit code, what it says, and how much memory it has had."""
        with tempfile.TemporaryFile("w+") as text:
            process = subprocess.Popen(
                command_in(NODE, PODWIRE, "explain", "--file", path), stdin=stdin, stdout=text,
                stderr=subprocess.STDOUT, env={**os.environ, "PODNET": "10.244.0.0/16"})
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            text.seek(0)
            return process.returncode, text.read(), usage.ru_maxrss << 10

    def count(self, path=None, **keywords):
        """How many frames there are in a file."""
        code, text, resident = self.explain(path or self.file, **keywords)
        # None of them is of a pod, so there is nothing to explain.
        self.assertEqual(code, 64, text)
        self.assertLess(resident, RESIDENT_BYTES_MAX)
        found = re.search(r"(\d+) packets? ha(?:s|ve) no MAC address", text)
        return int(found[1]) if found else 0

    def foreign_count(self, path):
        done = run("tshark", "-r", path, "-Y", "eth", "-T", "fields", "-e", "frame.number")
        return len(done.stdout.splitlines())

    def test_top_counts_what_tshark_counts(self):
        """Packets and bytes of each pair of addresses, in a file that has names."""
        shop, api, other = "10.244.1.2", "10.244.2.3", "10.244.9.9"
        content = [section("<"), interface("<"), names({shop: "shop/front-1", api: "shop/api-0"})]
        for number in range(200):
            client, service = (shop, api) if number % 3 else (api, shop)
            ports = (40000 + number % 7, 80 + number % 2)
            for ends, flags in ((client, service, *ports), 2), ((service, client, *ports[::-1]), 18):
                frame = segment(*ends, flags if number % 5 else 16, bytes(number))
                content.append(packet("<", frame))
        content += [packet("<"), packet("<", segment(shop, other, 5353, 53, 16))]
        self.file.write_bytes(b"".join(content))
        found = json.loads(run(PODWIRE, "top", self.file, "--json").stdout)
        self.assertEqual((found["packets"], found["without_ip"]), (402, 1))
        counted = collections.Counter()
        for row in found["conversations"]:
            ends = frozenset((row["client"], row["service"]))
            counted[ends, row["protocol"]] += row["client_packets"] + row["service_packets"]
            counted[ends, row["protocol"], "bytes"] += row["client_bytes"] + row["service_bytes"]
            self.assertIn(row["port"], (80, 81, 53))
        expected = collections.Counter()
        lines = run("tshark", "-r", self.file, "-n", "-Y", "ip", "-T", "fields", "-e", "ip.src", "-e",
                    "ip.dst", "-e", "frame.len").stdout.splitlines()
        for line in lines:
            *ends, length = line.split("\t")
            key = frozenset(ends), "tcp"
            expected[key] += 1
            expected[(*key, "bytes")] += int(length)
        self.assertEqual(counted, expected)
        text = run(PODWIRE, "top", self.file, "--only", "api", "--sort", "requests").stdout
        self.assertRegex(text, r"shop/front-1 +shop/api-0:8[01]/tcp ")
        self.assertNotIn(other, text)

    def test_top_survives_what_is_damaged(self):
        self.file.write_bytes(section("<") + interface("<") + packet("<") * 3 + b"\6\0\0\0\xff" + bytes(9))
        done = run(PODWIRE, "top", self.file, check=False)
        self.assertEqual(done.returncode, 64)
        self.assertIn("3 packets, 0 conversations", done.stdout)
        self.assertIn("damaged after packet 3", done.stderr)
        self.assertEqual(run(PODWIRE, "top", "/nowhere", check=False).returncode, 71)

    def test_sections_in_either_byte_order(self):
        for orders in ("<<", "<>", "><", ">>", "><>", "<><"):
            with self.subTest(orders):
                self.file.write_bytes(b"".join(
                    section(order) + interface(order) + packet(order) for order in orders))
                self.assertEqual(self.count(), len(orders))
                self.assertEqual(self.foreign_count(self.file), len(orders))

    def test_every_packet_block(self):
        for order in "<>":
            with self.subTest(order):
                self.file.write_bytes(
                    section(order) + interface(order) + packet(order) + obsolete_packet(order)
                    + simple_packet(order) + block(order, 0xbad, b"other"))
                self.assertEqual(self.count(), 3)
                self.assertEqual(self.foreign_count(self.file), 3)

    def test_files_of_other_programs(self):
        self.file.write_bytes(section(">") + interface(">") + packet(">") * 5)
        for kind in ("pcap", "nsecpcap", "pcapng"):
            with self.subTest(kind):
                made = self.folder / kind
                run("editcap", "-F", kind, self.file, made)
                self.assertEqual(self.count(made), 5)
                self.assertIn("Number of packets:   5", run("capinfos", "-M", made).stdout)
        merged = self.folder / "merged"
        run("mergecap", "-I", "none", "-w", merged, *(self.folder / kind for kind in ("pcap", "pcapng")))
        self.assertEqual(self.count(merged), 10)
        read = self.folder / "read"
        run("tcpdump", "-r", self.folder / "nsecpcap", "-w", read)
        self.assertEqual(self.count(read), 5)

    def test_compressed_files_and_standard_input(self):
        content = section(">") + interface(">") + packet(">") * 1000
        for name, data in {"plain": content, "one": gzip.compress(content),
                           "two": gzip.compress(content[:9999]) + gzip.compress(content[9999:])}.items():
            with self.subTest(name):
                self.file.write_bytes(data)
                self.assertEqual(self.count(), 1000)
                with open(self.file, "rb") as file:
                    self.assertEqual(self.count("-", stdin=file), 1000)
                with subprocess.Popen(["cat", self.file], stdout=subprocess.PIPE) as cat:
                    self.assertEqual(self.count("-", stdin=cat.stdout), 1000)
        self.file.write_bytes(gzip.compress(content)[:-20])
        self.assertIn("the file is cut short", self.explain(self.file)[1])
        code, text, _ = self.explain("-", stdin=subprocess.DEVNULL)
        self.assertEqual(code, 64)
        self.assertIn("standard input: too short to be a capture file", text)

    def test_a_file_that_is_cut_short_says_so(self):
        self.file.write_bytes((section("<") + interface("<") + packet("<") * 3)[:-9])
        for words in (("top", self.file), ("filter", "ip or not ip", "--file", self.file),
                      ("explain", "--file", self.file)):
            with self.subTest(words[0]):
                text = run(*command_in(NODE, PODWIRE, *words), check=False, env={
                    **os.environ, "PODNET": "10.244.0.0/16"}).stderr
                self.assertIn("the file is cut short", text)

    def test_the_exit_code_tells_what_is_wrong(self):
        self.file.write_bytes(b"this is no capture file")
        for path, expected in ((self.file, 64), (self.folder, 71), (self.folder / "missing", 71)):
            with self.subTest(path.name):
                code, text, _ = self.explain(path)
                self.assertEqual((code, text.count("\n")), (expected, 1), text)

    def test_what_is_large_takes_no_memory(self):
        large = 256 << 20
        head = section("<") + struct.pack("<II", 0xbad, large)
        tail = struct.pack("<I", large) + section(">") + interface(">") + packet(">")
        with open(self.file, "wb") as file:
            file.write(head)
            file.seek(large - 12, os.SEEK_CUR)
            file.write(tail)
        self.assertEqual(self.count(), 1)
        # A bomb: a thousand times as long as the file.
        with gzip.open(self.file, "wb", compresslevel=1) as file:
            file.write(head + bytes((1 << 20) - 12))
            for _ in range((large >> 20) - 1):
                file.write(bytes(1 << 20))
            file.write(tail)
        self.assertLess(self.file.stat().st_size, large / 100)
        self.assertEqual(self.count(), 1)
        self.file.write_bytes(section("<") + struct.pack("<IIII", 0xbad, large + 4, 0, 0))
        self.assertIn("a block of 268435460 bytes cannot be", self.explain(self.file)[1])

    def test_one_packet_is_no_plural(self):
        self.file.write_bytes(section("<") + interface("<") + packet("<") + interface("<", 113)
                              + block("<", 6, struct.pack("<IIIII", 1, 0, 7, 4, 4) + bytes(4)))
        text = self.explain(self.file)[1]
        self.assertIn("1 packet has no MAC address", text)
        self.assertIn("1 packet is no Ethernet frame: record at an edge", text)

    def test_a_file_with_nothing_to_explain_says_why(self):
        def of_link_type(link_type):
            return section("<") + interface("<", link_type) + packet("<")

        for content, part in ((section("<") + interface("<"), "the file has no packets"),
                              ((section("<") + interface("<") + packet("<"))[:-9], "of its first packet"),
                              (of_link_type(276), "LINUX_SLL2, as tcpdump -i any records them"),
                              (of_link_type(113), "LINUX_SLL, as tcpdump -i any"),
                              (of_link_type(101), "the link type RAW: record at an edge"),
                              (section("<") + interface("<") + packet("<"), "or name the edge with --edge")):
            with self.subTest(part):
                self.file.write_bytes(content)
                code, text, _ = self.explain(self.file)
                self.assertEqual((code, text.count("\n")), (64, 1), text)
                self.assertIn(part, text)

    def test_what_comes_before_damage_counts(self):
        good = section("<") + interface("<") + packet("<") * 2
        for bad, part in ((struct.pack("<III", 6, 7, 0), "a block of 7 bytes cannot be"),
                          (struct.pack(">IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1), "with mergecap")):
            with self.subTest(part):
                self.file.write_bytes(good + bad)
                code, text, _ = self.explain(self.file)
                self.assertEqual(code, 64)
                self.assertIn("2 packets have no MAC address", text)
                self.assertRegex(text, f"damaged after packet 2: .*{part}")

    def test_what_is_not_read_is_named(self):
        modified = struct.pack("<IHHiIII", 0xa1b2cd34, 2, 4, 0, 0, 65535, 1) + struct.pack(
            "<IIIIIHBB", 0, 7, len(FRAME), len(FRAME), 1, 0, 0, 0) + FRAME
        self.file.write_bytes(modified)
        code, text, _ = self.explain(self.file)
        self.assertEqual(code, 64)
        self.assertIn("a modified pcap file (Kuznetzov's)", text)
        # What it advises.
        self.assertIn("editcap -F pcapng OLD NEW", text)
        run("editcap", "-F", "pcapng", self.file, self.folder / "new")
        self.assertEqual(self.count(self.folder / "new"), 1)
        self.file.write_bytes(lzma.compress(modified))
        self.assertIn("compressed with xz", self.explain(self.file)[1])


if __name__ == "__main__":
    unittest.main()
