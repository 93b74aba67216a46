"""The agent's metrics, read from its endpoint."""

import http.client
import re

from . import processes

PORT = 9464


class Page:
    """The figures of one moment."""

    def __init__(self, namespace):
        connection = http.client.HTTPConnection("127.0.0.1", PORT)
        connection.sock = processes.socket_in(namespace)
        try:
            connection.sock.connect(("127.0.0.1", PORT))
            connection.request("GET", "/metrics")
            self.lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()

    def values(self, name, sensor):
        """The values of a sensor's series, by the labels behind the sensor's."""
        label = re.escape(f'sensor="{sensor}"')
        found = (re.fullmatch(rf"{name}{{{label},?(.*)}} (\S+)", line) for line in self.lines)
        return {match[1]: float(match[2]) for match in found if match}

    def value(self, name):
        """The value of the series that has no label."""
        found = (re.fullmatch(rf"{name} (\S+)", line) for line in self.lines)
        return next(float(match[1]) for match in found if match)


def account(page, sensor):
    """What became of a sensor's frames and packets."""
    def value(name):
        return page.values(f"podwire_{name}", sensor)[""]

    fates = page.values("podwire_frames_total", sensor)
    return {
        "matched": value("frames_matched_total"), "held": page.value("podwire_frames_held"),
        "unaccounted": value("frames_unaccounted_total"),
        "forwarded": value("packets_forwarded_total"), "sent": value("packets_sent_total"),
        **{"fate_" + re.fullmatch(r'fate="(\w+)"', label)[1]: count
           for label, count in fates.items()}}
