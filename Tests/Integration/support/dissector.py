"""What tshark's RPCAP dissector makes of a session that went over a namespace's loopback."""

import pathlib
import socket
import subprocess
import tempfile
import uuid

from support.namespace import command_in, socket_in
from support.waiting import wait_until

# The dissector knows its protocol by the look of it alone; it is asked before others.
HEURISTICS = ["--enable-heuristic", "rpcap_tcp", "--enable-heuristic", "rpcap_udp",
              "-o", "tcp.try_heuristic_first:TRUE", "-o", "udp.try_heuristic_first:TRUE"]


class Recording:
    """Records from `with` to its end; then answers questions."""

    def __init__(self, namespace):
        self.namespace = namespace
        self.folder = tempfile.TemporaryDirectory()
        self.file = pathlib.Path(self.folder.name) / "session.pcap"

    def __enter__(self):
        self.recorder = subprocess.Popen(
            command_in(self.namespace, "tcpdump", "-U", "--immediate-mode", "-B", "65536", "-i",
                       "lo", "-s", "0", "-w", self.file, "tcp or udp"),
            stderr=subprocess.PIPE, text=True)
        while "listening on" not in self.recorder.stderr.readline():
            pass
        return self

    def __exit__(self, *_):
        # What comes last is a datagram of ours, which no dissector takes for RPCAP.
        word = f"the end {uuid.uuid4()}".encode()
        with socket_in(self.namespace, kind=socket.SOCK_DGRAM) as sender:
            sender.sendto(word, ("127.0.0.1", 9))
        try:
            wait_until(lambda: word in self.file.read_bytes(), "the recording has no end")
        finally:
            self.recorder.terminate()
            self.recorder.communicate()

    def tshark(self, *arguments):
        return subprocess.run(["tshark", "-r", self.file, *HEURISTICS, *arguments], check=True,
                              capture_output=True, text=True, timeout=60).stdout

    def check(self, test, *types):
        """Holds a test to these message types having been seen, and to nothing being malformed."""
        seen = self.tshark("-Y", "rpcap", "-T", "fields", "-e", "rpcap.type")
        seen = {int(number, 0) for number in seen.replace(",", " ").split()}
        test.assertEqual(set(types) - seen, set())
        test.assertEqual(self.tshark("-Y", "_ws.malformed"), "")
        self.folder.cleanup()
