"""Sets the largest packets that devices of this network namespace make (BIG TCP).

    packet_sizes.py SIZE DEVICE...

It concerns what a device sends and what it makes of packets it receives, of both IP versions. Debian's
ip(8) does not know those of IPv4.
"""

import errno
import os
import socket
import struct
import sys

RTM_SETLINK, NLM_F_REQUEST_ACK = 19, 5
# IFLA_GSO_MAX_SIZE, IFLA_GRO_MAX_SIZE, and the same for IPv4, since Linux 6.3.
ATTRIBUTES = (41, 58, 63, 64)


def set_packet_size(size, *devices):
    """Fails where the kernel does not allow the size."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        for device in devices:
            body = struct.pack("BxHiII", 0, 0, socket.if_nametoindex(device), 0, 0)
            body += b"".join(struct.pack("HHI", 8, kind, size) for kind in ATTRIBUTES)
            header = struct.pack("IHHII", 16 + len(body), RTM_SETLINK, NLM_F_REQUEST_ACK, 1, 0)
            netlink.send(header + body)
            error = -struct.unpack_from("i", netlink.recv(4096), 16)[0]
            if error:
                raise OSError(error, f"packets of {size} bytes, {device}: {os.strerror(error)}")


if __name__ == "__main__":
    try:
        set_packet_size(int(sys.argv[1]), *sys.argv[2:])
    except OSError as failure:
        if failure.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
        sys.exit(f"packet_sizes: {failure.strerror}")
