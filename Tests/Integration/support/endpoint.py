"""An agent's endpoint, its metrics, and threads that are stopped, for tests."""

import ctypes
import http.client
import os
import pathlib
import sys
import time

from support.namespace import socket_in
from support.waiting import PATIENCE_SECONDS, wait_until

# Where Debian has python3-prometheus-client, whichever Python this is.
sys.path.append("/usr/lib/python3/dist-packages")
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

PORT = 9464
# A page is made four times a second at most.
FRESH = 0.3
# What can become of a request that was held.
REQUEST_FATES = ("answered", "unanswered", "left_to_sender", "abandoned")


class Endpoint:
    """The endpoint of an agent in a namespace."""

    def __init__(self, namespace, port=PORT):
        self.namespace, self.port = namespace, port

    def connect(self, seconds=PATIENCE_SECONDS):
        connection = socket_in(self.namespace)
        connection.settimeout(seconds)
        try:
            connection.connect(("127.0.0.1", self.port))
        except OSError:
            connection.close()
            raise
        return connection

    def open(self, seconds=PATIENCE_SECONDS):
        """A connection that is kept."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.sock = self.connect(seconds)
        return connection

    def get(self, path, connection=None, seconds=PATIENCE_SECONDS):
        """The status, the headers and the text of a page."""
        own = connection or self.open(seconds)
        try:
            own.request("GET", path)
            response = own.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            if not connection:
                own.close()

    def tell(self, data, seconds=PATIENCE_SECONDS):
        """All that is said to some bytes."""
        connection, answer = self.connect(seconds), b""
        try:
            connection.sendall(data)
            while part := connection.recv(1 << 16):
                answer += part
        except OSError:
            pass
        connection.close()
        return answer

    def await_page(self, path, status, text="", seconds=PATIENCE_SECONDS):
        """Waits until a page is as it should be, and returns its text."""
        found = None

        def is_there():
            nonlocal found
            try:
                found = self.get(path)
            except OSError as error:
                found = error
                return False
            return found[0] == status and text in found[2]

        wait_until(is_there, lambda: f"{path} is not {status} with {text!r}, but {found}", seconds,
                   interval=0.05)
        return found[2]

    def metrics(self):
        """The figures of now, or of a moment before."""
        status, headers, text = self.get("/metrics")
        assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return Metrics(text)

    def fresh_metrics(self):
        """The figures of now."""
        time.sleep(FRESH)
        return self.metrics()

    def await_metrics(self, condition, what="the metrics are not as they should be"):
        """Waits until a condition on the figures is true, and returns them."""
        found = None

        def is_there():
            nonlocal found
            found = self.fresh_metrics()
            return condition(found)

        wait_until(is_there, what)
        return found

    def settled(self):
        """Waits until all that was captured is accounted for and no more comes, and returns the
        figures then. Fragments that wait for their first one, as they do for up to a minute, count as
        accounted for."""
        known = since = None

        def is_settled(metrics):
            nonlocal known, since
            before, known = known, (metrics.sum("podwire_frames_matched_total"),
                                    metrics.sum("podwire_frames_held"))
            if known != before:
                since = time.monotonic()
                return False
            if not any(map(metrics.in_flight, metrics.sensors)):
                return True
            # Requests wait no longer than this.
            return (time.monotonic() - since > 1
                    and sum(map(metrics.in_flight, metrics.sensors)) == known[1])

        return self.await_metrics(is_settled, "frames are on their way")


class Metrics:
    """A page of metrics."""

    def __init__(self, text):
        self.text = text
        families = list(text_string_to_metric_families(text))
        self.families = {family.name: family for family in families}
        assert len(self.families) == len(families), "a family is there twice"
        samples = [sample for family in self.families.values() for sample in family.samples]
        self.values = {(sample.name, *sorted(sample.labels.items())): sample.value
                       for sample in samples}
        assert len(self.values) == len(samples), "a series is there twice"

    @property
    def names(self):
        """As they are queried."""
        return {name + ("_total" if family.type == "counter" else "")
                for name, family in self.families.items()}

    def sum(self, name, **labels):
        """Of all series of this name with these labels."""
        return sum(value for (own, *rest), value in self.values.items()
                   if own == name and labels.items() <= dict(rest).items())

    def check_since(self, before):
        """No counter has gone back; and none is gone, but that of an edge."""
        for family in self.families.values():
            if family.type != "counter":
                continue
            for key, value in before.values.items():
                if key[0] != family.name + "_total":
                    continue
                if key not in self.values:
                    assert "edge" in dict(key[1:]), f"{key} is gone"
                else:
                    assert value <= self.values[key], f"{key}: {value} and then {self.values[key]}"
            edges = family.name + "_total"
            assert before.sum(edges) <= self.sum(edges), f"{edges} has gone back"

    @property
    def sensors(self):
        """What captures are counted by."""
        return {dict(key[1:])["sensor"] for key in self.values
                if key[0] == "podwire_frames_matched_total"}

    def waiting_requests(self):
        """The requests that are held and have no fate yet; 0 when nobody asks any more."""
        return self.sum("podwire_requests_held_total") - sum(
            self.sum(f"podwire_requests_{fate}_total") for fate in REQUEST_FATES)

    def in_flight(self, sensor):
        """What the law leaves open."""
        return (self.sum("podwire_frames_matched_total", sensor=sensor)
                - self.sum("podwire_frames_total", sensor=sensor))


class Stopped:
    """A thread of a process that does nothing for a while (ptrace(2))."""

    SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000

    def __init__(self, pid, name):
        tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
        self.number = next(int(task.name) for task in tasks
                           if (task / "comm").read_text().strip() == name)

    def ask(self, request):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.ptrace(request, self.number, None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def __enter__(self):
        self.ask(self.SEIZE)
        self.ask(self.INTERRUPT)
        os.waitpid(self.number, self.WALL)

    def __exit__(self, *_):
        self.ask(self.DETACH)
