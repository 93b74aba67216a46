"""The largest packets that devices make (BIG TCP), and those that pass them."""

import json
import socket
import threading

from support import sizes
from support.namespace import in_namespace, ip_in

ETH_P_ALL = 3


def set_packet_size(namespace, size, *devices):
    """Sets the largest packets that devices send, and that they make of those they receive."""
    in_namespace(namespace, lambda: sizes.set_packet_size(size, *devices))


def devices_in(namespace, kind):
    """The names of all devices of a kind."""
    return [link["ifname"]
            for link in json.loads(ip_in(namespace, "-j", "link", "show", "type", kind).stdout)]


class LargestPacket:
    """Sees the packets of all devices of a namespace, and knows the length of the longest."""

    def __init__(self, namespace):
        self.byte_count = 0
        self._socket = in_namespace(namespace, lambda: socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)))
        self._socket.settimeout(0.1)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self):
        memory = bytearray(64)
        while not self._is_over.is_set():
            try:
                length = self._socket.recv_into(memory, len(memory), socket.MSG_TRUNC)
            except TimeoutError:
                continue
            self.byte_count = max(self.byte_count, length)

    def close(self):
        self._is_over.set()
        self._thread.join()
        self._socket.close()
