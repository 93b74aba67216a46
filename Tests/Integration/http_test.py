"""The agent's endpoint: what it counts, whether it is alive and ready, and who tries to hurt it.

PODWIRE names the binary. Metrics are read by the parser of Prometheus's own client for Python.
"""

import http.client
import json
import os
import pathlib
import random
import re
import resource
import signal
import socket
import tempfile
import threading
import time
import unittest

from support import ROOT, rpcap
from support.agent import Agent, Client, SensorSession
from support.bed import Bed, Mark
from support.commands import make_certificate, run
from support.endpoint import PORT, Endpoint, Stopped
from support.feed import PER_SECOND, FeedCase
from support.namespace import ip_in, run_in, socket_in
from support.program import FATES, PODWIRE
from support.rpcap import LOGIN
from support.waiting import PATIENCE_SECONDS, wait_until

PAGE = (ROOT / "Sources/podwire/podwire.docc/MetricsAndLogs.md").read_text()
DASHBOARD = (ROOT / "k8s" / "dashboard.json").read_text()
ALERTS = (ROOT / "k8s" / "components" / "prometheus-operator" / "alerts.yaml").read_text()


class FeedTest(FeedCase):
    """While pods send and sensors listen."""

    def start(self, **keywords):
        super().start(**keywords)
        self.names = [f"{sensor.address}:2003" for sensor in self.sensors]

    def metrics(self):
        return self.endpoint.fresh_metrics()

    def test_the_law_balances(self):
        self.start(pods=2)
        before, in_flight = self.metrics(), {name: [] for name in self.names}
        for _ in range(6):
            metrics = self.metrics()
            metrics.check_since(before)
            for name in self.names:
                # What is on its way, and what has come while the page was made.
                in_flight[name].append(metrics.in_flight(name))
                self.assertGreaterEqual(in_flight[name][-1], 0)
                self.assertLessEqual(
                    metrics.sum("podwire_packets_sent_total", sensor=name),
                    metrics.sum("podwire_packets_forwarded_total", sensor=name))
                self.assertGreater(
                    metrics.sum("podwire_packets_forwarded_total", sensor=name),
                    before.sum("podwire_packets_forwarded_total", sensor=name))
            before = metrics
        # It may be more while a busy machine keeps the agent waiting.
        for counts in in_flight.values():
            self.assertLess(min(counts), PER_SECOND / 4, counts)
        self.sender.stop()
        metrics = self.endpoint.settled()
        for sensor, name in zip(self.sensors, self.names):
            forwarded = metrics.sum("podwire_packets_forwarded_total", sensor=name)
            sensor.await_count(int(forwarded))
            self.endpoint.await_metrics(lambda metrics: forwarded == metrics.sum(
                "podwire_packets_sent_total", sensor=name), "not all packets count as sent")
            self.assertEqual(
                metrics.sum("podwire_frames_total", sensor=name, fate="forwarded"), forwarded)
            self.assertEqual(metrics.sum("podwire_edge_frames_matched_total", sensor=name),
                             metrics.sum("podwire_frames_matched_total", sensor=name))
            self.assertGreater(metrics.sum("podwire_edge_frames_forwarded_total", sensor=name,
                                           edge="veth-pod0"), forwarded / 2)
            self.assertEqual({dict(key[1:])["fate"] for key in metrics.values
                              if key[0] == "podwire_frames_total"}, set(FATES))
        self.assertEqual(metrics.sum("podwire_ring_memory_bytes"), self.agent.ring_bytes())
        self.assertEqual(metrics.sum("podwire_edges"), 2)
        self.assertEqual(metrics.sum("podwire_edges_without_addresses"), 0)
        self.assertEqual(metrics.sum("podwire_frames_unaccounted_total"), 0)
        self.assertEqual(metrics.sum("podwire_ready"), 1)

    def test_totals_go_on_when_sensors_and_edges_go(self):
        # Short sessions count as failures, which have a line each at level debug only.
        self.start(pods=2, PODWIRE_LOG_LEVEL="debug")
        victim, name = self.sensors[0], self.names[0]
        second = self.send(1)
        victim.await_packet(second, 1000)
        seen = [self.metrics()]

        def look():
            seen.append(self.metrics())
            seen[-1].check_since(seen[-2])
            return seen[-1]

        self.assertEqual(look().sum("podwire_sessions_total", sensor=name), 1)
        for session in (2, 3):
            victim.kill()
            self.agent.await_text("sensor session ended", session - 1)
            self.assertEqual(look().sum("podwire_sessions_open", sensor=name), 0)
            self.agent.await_text("sensor not reached", session - 1)
            self.assertGreater(look().sum("podwire_connect_failures_total", sensor=name), 0)
            victim.begin()
            self.await_service(victim, session)
            self.assertEqual(look().sum("podwire_sessions_total", sensor=name), session)
        second.stop()
        figure = "podwire_edge_frames_matched_total"
        before = self.settled_of(second)
        count = before.sum(figure, sensor=name, edge="veth-pod1")
        self.assertGreater(count, 1000)
        self.bed.remove_pod(1)
        self.agent.await_text("edge gone")
        after = look()
        self.assertEqual(after.sum(figure, sensor=name, edge="veth-pod1"), 0)
        self.assertGreaterEqual(after.sum(figure, sensor=name, edge="all others"), count)
        self.sender.stop()
        self.endpoint.settled().check_since(after)
        total = len(victim.sessions())
        self.assertEqual(total, 3)

    def settled_of(self, sender):
        for sensor in self.sensors:
            sensor.await_packet(sender, sender.count - 1)
        return self.metrics()

    def test_who_wants_to_hurt_the_agent_does_not(self):
        """Slow ones, many, greedy ones and fools; the feed and the probes go on."""
        self.start()
        before = self.agent.uses()
        slowest, over = [], threading.Event()

        def probe():
            while not over.is_set():
                begin = time.monotonic()
                status = self.endpoint.get("/healthz")[0]
                slowest.append((time.monotonic() - begin, status))
                time.sleep(0.2)

        prober = threading.Thread(target=probe)
        prober.start()
        memory = []
        for attack in (self.hold, self.flood, self.babble, self.greed):
            attack()
            memory.append(self.agent.uses()[2])
        over.set()
        prober.join()
        self.assertGreater(len(slowest), 10)
        self.assertEqual({status for _, status in slowest}, {200})
        # A kubelet waits so long.
        self.assertLess(max(slowest)[0], 5)
        self.assertLess(max(memory) - before[2], 8 << 20, memory)
        # Threads for sending come and go, and one may have been there before.
        self.agent.await_uses(before)
        self.finish(untouched=self.sensors)

    def hold(self):
        """Holds on to connections, a byte at a time."""
        held = [self.endpoint.connect() for _ in range(100)]
        for byte in b"GET /metrics HT":
            for connection in held:
                try:
                    connection.send(bytes([byte]))
                except OSError:
                    pass
            time.sleep(0.1)
        for connection in held:
            connection.close()

    def flood(self):
        """Asks as often as it can, over many connections and over one."""
        end = time.monotonic() + 2

        def ask(closes):
            while time.monotonic() < end:
                try:
                    connection = self.endpoint.open(2)
                    while time.monotonic() < end:
                        self.endpoint.get("/metrics", connection)
                        if closes:
                            break
                    connection.close()
                except (OSError, http.client.HTTPException):
                    pass

        threads = [threading.Thread(target=ask, args=(number % 2 == 0,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def babble(self):
        """Says what is no request, or none that anybody wants."""
        chance = random.Random(1)
        request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
        for _ in range(60):
            self.endpoint.tell(chance.randbytes(chance.randrange(1, 3000)) + b"\r\n\r\n")
            broken = bytearray(request)
            broken[chance.randrange(len(broken))] = chance.randrange(256)
            connection = self.endpoint.connect()
            connection.sendall(broken)
            connection.close()
        self.assertIn(b" 431 ", self.endpoint.tell(request[:-2] + b"A: " + bytes(1 << 20)
                                                   .replace(b"\0", b"a")))
        self.assertEqual(self.endpoint.tell(request * 10_000).count(b"HTTP/1.1 200"), 1)
        self.assertIn(b" 413 ", self.endpoint.tell(
            b"GET / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000)))

    def greed(self):
        """Asks for much, again and again, and reads none of it."""
        held = []
        for _ in range(60):
            connection = socket_in(self.endpoint.namespace)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.settimeout(PATIENCE_SECONDS)
            connection.connect(("127.0.0.1", PORT))
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            held.append(connection)
        time.sleep(1)
        for connection in held:
            connection.close()

    def test_a_thread_that_is_stuck(self):
        """One of the agent's threads is stopped by a tracer, and then goes on."""
        self.start()
        self.assertIn("alive", self.endpoint.await_page("/healthz", 200))
        with Stopped(self.agent.pid, "podwire-forward"):
            text = self.endpoint.await_page("/healthz", 503)
            self.assertRegex(text, r"the forwarder of all sensors: no heartbeat for \d+ s")
            self.assertEqual(text.count("no heartbeat"), 1)
        self.endpoint.await_page("/healthz", 200)
        self.finish()


class ProbeTest(unittest.TestCase):
    """What probes and people are told."""

    def setUp(self):
        self.bed = Bed("ht")
        self.addCleanup(self.bed.remove)
        self.endpoint = Endpoint(self.bed.node)

    def agent(self, *arguments, **keywords):
        agent = Agent(self.bed, arguments=arguments, **keywords)
        self.addCleanup(agent.kill)
        return agent

    def listening(self):
        lines = run_in(self.bed.node, "ss", "-Htlnp").stdout.splitlines()
        return [line.split()[3] for line in lines if "podwire" in line]

    def test_readiness_with_a_sensor(self):
        self.agent()
        text = self.endpoint.await_page("/readyz", 503, "Connection refused")
        self.assertTrue(text.startswith("not ready: no sensor captures\n"), text)
        listener = self.bed.listen()
        self.addCleanup(listener.close)
        session = SensorSession(listener)
        self.addCleanup(session.close)
        self.endpoint.await_page("/readyz", 503, "has not asked for packets (STARTCAP)")
        session.start(self.bed)
        text = self.endpoint.await_page("/readyz", 200, "sensor 127.0.0.1:2003: capturing")
        self.assertTrue(text.startswith("ready\nnetlink: synced"), text)
        session.close()
        self.endpoint.await_page("/readyz", 503, "no sensor captures")
        self.endpoint.await_page("/readyz", 503, "no session: the peer closed the connection")
        self.assertEqual(self.endpoint.get("/healthz")[0], 200)

    def test_readiness_with_pod_networks_of_others(self):
        """Not while all pods that are known are outside; a sensor that captures does not make up for
        that."""
        listening = ("--listen", "127.0.0.1:2002", "--allow-null-login")
        reason = ("the one pod here does not have an address in PODNET 10.99.0.0/16: "
                  "it has 10.244.1.2")
        agent = self.agent(*listening, sensors="", PODNET="10.99.0.0/16")
        text = self.endpoint.await_page("/readyz", 503, "clients: listening")
        self.assertTrue(text.startswith(f"not ready: {reason}\n"), text)
        self.assertEqual(self.endpoint.fresh_metrics().sum("podwire_ready"), 0)
        self.assertEqual(self.endpoint.get("/healthz")[0], 200)
        # An address inside, none at all, and the one outside again.
        pod = (self.bed.pod, "addr")
        ip_in(*pod, "add", "10.99.1.2/24", "dev", "eth0")
        self.endpoint.await_page("/readyz", 200)
        ip_in(*pod, "flush", "dev", "eth0")
        agent.await_text("edge captured")
        self.endpoint.await_page("/readyz", 200)
        self.assertEqual(agent.text().count(reason), 1)
        ip_in(*pod, "add", "10.244.1.2/24", "dev", "eth0")
        self.endpoint.await_page("/readyz", 503, reason)
        agent.await_text(reason, 2)
        ip_in(self.bed.node, "link", "del", "veth-pod")
        self.endpoint.await_page("/readyz", 200)
        self.assertEqual(agent.text().count(reason), 2)
        self.assertEqual(agent.stop()[0], 0)

    def test_readiness_where_other_veths_are_to_be_captured_or_left_out(self):
        for option in (("--edges", "all"), ("--include-edges", "veth*"),
                       ("--exclude-edges", "veth*")):
            with self.subTest(option):
                agent = self.agent("--listen", "127.0.0.1:2002", "--allow-null-login", *option,
                                   sensors="", PODNET="10.99.0.0/16")
                self.endpoint.await_page("/readyz", 200)
                agent.stop()

    def test_readiness_of_one_that_listens(self):
        self.agent("--listen", "127.0.0.1:2002", "--allow-null-login", sensors="")
        self.endpoint.await_page("/readyz", 200, "clients: listening, 0 connected")
        count = 0
        for device in (b"any-eth", b"veth-pod", b"any-eth"):
            client = Client(self.bed.node)
            client.log_in(device)
            client.start()
            self.endpoint.await_page("/readyz", 200, "1 connected")
            self.bed.ping(5)
            count += len(client.frames_until(Mark(self.bed))) + 1
            client.close()
        self.endpoint.await_page("/readyz", 200, "0 connected")
        metrics = self.endpoint.fresh_metrics()
        self.assertEqual(metrics.sum("podwire_sessions_total", sensor="clients"), 3)
        self.assertEqual(metrics.sum("podwire_captures", sensor="clients"), 0)
        for name in ("podwire_packets_forwarded_total", "podwire_frames_total",
                     "podwire_frames_matched_total", "podwire_edge_frames_matched_total"):
            # Something may have come while the client was leaving.
            self.assertIn(metrics.sum(name, sensor="clients"), range(count, count + 10), name)
        self.assertGreaterEqual(count, 30)

    def test_who_is_refused_is_counted(self):
        with tempfile.TemporaryDirectory() as folder:
            names = [f"{folder}/{name}" for name in ("users", "key", "certificate")]
            run(PODWIRE, "password", "eve", "--file", names[0], input="secret\n")
            make_certificate(names[1], names[2])
            arguments = ("--listen", "127.0.0.1:2002", "--password-file", names[0], "--allow",
                         "127.0.0.1,127.0.0.2")
            agent = self.agent(*arguments, sensors="")
            self.endpoint.await_page("/readyz", 200)
            client = Client(self.bed.node)
            self.assertEqual(client.ask(rpcap.login(b"eve", b"wrong"))[0], 1)
            client.close()
            Client(self.bed.node, "127.0.0.3").close()
            self.await_figure("podwire_logins_refused_total", 1)
            self.await_figure("podwire_clients_refused_total", 1)
            self.await_figure("podwire_tls_handshake_failures_total", 0)
            agent.stop()
            self.agent(*arguments, "--tls-key", names[1], "--tls-certificate", names[2], sensors="")
            self.endpoint.await_page("/readyz", 200)
            client = Client(self.bed.node)
            client.control.sendall(LOGIN)
            self.await_figure("podwire_tls_handshake_failures_total", 1)
            client.close()

    def await_figure(self, name, value):
        self.endpoint.await_metrics(lambda metrics: metrics.sum(name) == value,
                                    f"{name} is not {value}")

    def test_readiness_when_events_were_lost(self):
        """A node that changes faster than the agent can follow, and an agent without descriptors to
        look at it anew."""
        agent = self.agent("--listen", "127.0.0.1:2002", "--allow-null-login", sensors="")
        self.endpoint.await_page("/readyz", 200)
        connection = self.endpoint.open()
        self.addCleanup(connection.close)
        self.assertEqual(self.endpoint.get("/readyz", connection)[0], 200)
        agent.process.send_signal(signal.SIGSTOP)
        limits = resource.prlimit(agent.pid, resource.RLIMIT_NOFILE)
        changes = "".join(f"link set veth-pod mtu {1400 + turn % 2}\n" for turn in range(8000))
        ip_in(self.bed.node, "-batch", "-", input=changes)
        # poll(2) takes no more descriptors than the limit, and the agent has more open than these.
        resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, (10, limits[1]))
        agent.process.send_signal(signal.SIGCONT)
        agent.await_text("netlink events lost, resyncing")
        page = None

        def is_not_ready():
            nonlocal page
            page = self.endpoint.get("/readyz", connection)
            return page[0] != 200

        wait_until(is_not_ready, "it is ready")
        self.assertIn("not ready: netlink is not synced with the node\n", page[2])
        resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, limits)
        self.endpoint.await_page("/readyz", 200)
        self.assertEqual(self.endpoint.metrics().sum("podwire_netlink_resyncs_total"), 1)

    def test_the_number_of_series_is_bounded(self):
        count = 520
        ip_in(self.bed.node, "-batch", "-", input="".join(
            f"link add v{number} type veth peer name p{number} netns {self.bed.pod}\n"
            f"link set v{number} up\n" for number in range(count)))
        listener = self.bed.listen()
        self.addCleanup(listener.close)
        self.agent("--ring-memory", "512MiB")
        session = SensorSession(listener)
        self.addCleanup(session.close)
        session.start(self.bed)
        self.await_figure("podwire_edges", count + 1)
        name, total = "podwire_edge_frames_matched_total", "podwire_frames_matched_total"
        def series(metrics):
            return [key for key in metrics.values if key[0] == name]

        self.endpoint.await_metrics(lambda metrics: len(series(metrics)) >= 513)
        self.bed.ping()
        metrics = self.endpoint.settled()
        self.assertEqual(len(series(metrics)), 513)
        self.assertGreaterEqual(metrics.sum(name), 6)
        self.assertEqual(metrics.sum(name), metrics.sum(total))

    def test_edges_whose_pods_cannot_be_asked_are_blind(self):
        self.agent(prefix=(
            "capsh", "--drop=cap_net_admin,cap_sys_admin", "--shell=/bin/sh", "--", "-c",
            'exec "$0" "$@"'))
        self.endpoint.await_page("/metrics", 200)
        metrics = self.endpoint.metrics()
        self.assertEqual(metrics.sum("podwire_edges"), 1)
        self.assertEqual(metrics.sum("podwire_edges_without_addresses"), 1)

    def test_it_is_on_loopback_alone(self):
        agent = self.agent()
        agent.await_text("serving metrics and probes")
        self.assertEqual(self.listening(), ["127.0.0.1:9464"])

    def test_it_is_where_settings_say(self):
        for value, places in (("off", []), ("[::1]:9999", ["[::1]:9999"]), ("9998", ["*:9998"]),
                              ("127.0.0.1:9464,[::1]:9464", ["127.0.0.1:9464", "[::1]:9464"])):
            with self.subTest(value):
                agent = self.agent(PODWIRE_HTTP=value)
                agent.await_text("sensor not reached" if not places else "serving metrics",
                                 len(places) or 1)
                self.assertEqual(sorted(self.listening()), places)
                agent.stop()

    def test_a_port_in_use_stops_nothing(self):
        taken = self.bed.listen(PORT)
        agent = self.agent()
        agent.await_text("cannot serve metrics and probes")
        self.assertIn("give another address with --http, or off", agent.text())
        self.assertIn("bind 127.0.0.1:9464: Address already in use", agent.text())
        listener = self.bed.listen()
        session = SensorSession(listener)
        session.start(self.bed)
        self.addCleanup(session.close)
        listener.close()
        taken.close()
        self.endpoint.await_page("/readyz", 200)
        self.assertEqual(agent.text().count("cannot serve metrics and probes"), 1)

    def test_of_several_addresses_one_that_is_taken_stops_no_other(self):
        taken = self.bed.listen(9465)
        agent = self.agent(PODWIRE_HTTP="127.0.0.1:9465,127.0.0.1:9464")
        agent.await_text("cannot serve metrics and probes")
        self.endpoint.await_page("/healthz", 200)
        taken.close()
        Endpoint(self.bed.node, 9465).await_page("/healthz", 200)

    def test_connections_are_bounded_over_all_addresses(self):
        agent = self.agent(PODWIRE_HTTP="127.0.0.1:9464,127.0.0.1:9465")
        agent.await_text("serving metrics and probes", 2)
        other = Endpoint(self.bed.node, 9465)
        held = [place.connect() for place in [self.endpoint, other] * 40]
        for connection in held:
            self.addCleanup(connection.close)
        self.assertEqual(other.get("/healthz")[0], 200)

        def sockets():
            return re.findall(r"127.0.0.1:946[45] +127", run_in(
                self.bed.node, "ss", "-Htn", "state", "established").stdout)

        # Those that are refused are closed a moment after they were accepted.
        wait_until(lambda: len(sockets()) <= 33, lambda: f"{len(sockets())} are open")

    def test_pages(self):
        agent = self.agent()
        index = self.endpoint.await_page("/", 200)
        paths = re.findall(r"^(/\w*)  ", index, re.MULTILINE)
        self.assertEqual(paths, ["/", "/metrics", "/healthz", "/readyz", "/edges"])
        for path in paths:
            self.assertIn(self.endpoint.get(path)[0], (200, 503), path)
        status, headers, text = self.endpoint.get("/edges")
        self.assertEqual((status, headers["Content-Type"]), (200, "application/json"))
        self.assertEqual(headers.get_all("Server"), ["podwire"])
        shown = run_in(self.bed.node, PODWIRE, "edges", "--json",
                       env={**os.environ, "PODNET": "10.244.0.0/16"}).stdout
        self.assertEqual(json.loads(text), json.loads(shown))
        self.assertEqual([edge["interface"] for edge in json.loads(text)], ["veth-pod"])
        names = [(task / "comm").read_text().strip()
                 for task in pathlib.Path(f"/proc/{agent.pid}/task").iterdir()]
        self.assertEqual(names.count("podwire-http"), 1)
        self.assertEqual([name for name in names if not name.startswith("podwire")], [])
        version = run(PODWIRE, "--version").stdout.split()[1]
        build = [dict(key[1:]) for key in self.endpoint.metrics().values
                 if key[0] == "podwire_build_info"]
        self.assertEqual([labels["version"] for labels in build], [version])
        # Whoever says nothing is told so after a while.
        self.assertIn(b" 408 ", self.endpoint.tell(b"GET / HTT"))
        self.assertEqual(agent.stop()[0], 0)


class WrittenTest(unittest.TestCase):
    """What is written about metrics is true of a page of them."""

    @classmethod
    def setUpClass(cls):
        cls.bed = Bed("hw")
        cls.addClassCleanup(cls.bed.remove)
        cls.begun = time.time()
        cls.agent = Agent(cls.bed)
        cls.addClassCleanup(cls.agent.kill)
        cls.endpoint = Endpoint(cls.bed.node)
        cls.endpoint.await_page("/metrics", 200)
        cls.metrics = cls.endpoint.metrics()

    def test_each_has_a_help_and_a_name_as_is_usual(self):
        for name, family in self.metrics.families.items():
            self.assertRegex(name, r"^(podwire|process)_[a-z_]+$")
            self.assertTrue(family.documentation.endswith("."), name)
            self.assertIn(family.type, ("counter", "gauge"))
            if "bytes" in name:
                self.assertRegex(family.documentation, "[Bb]ytes")

    def test_the_process_is_as_the_kernel_says(self):
        folder = pathlib.Path(f"/proc/{self.agent.process.pid}")
        metrics, status = None, {}

        def figure(name):
            return metrics.values[f"process_{name}",]

        def agree_on_threads():
            """One may begin or end between the two."""
            nonlocal metrics
            metrics = self.endpoint.fresh_metrics()
            status.update(re.findall(r"(\w+):\s+(\d+)", (folder / "status").read_text()))
            return figure("threads") == int(status["Threads"])

        wait_until(agree_on_threads,
                   lambda: f"{figure('threads')} threads, not {status['Threads']}")
        self.assertAlmostEqual(
            figure("resident_memory_bytes"), int(status["VmRSS"]) << 10, delta=4 << 20)
        self.assertAlmostEqual(
            figure("virtual_memory_bytes"), int(status["VmSize"]) << 10, delta=1 << 20)
        self.assertAlmostEqual(figure("open_fds"), len(os.listdir(folder / "fd")), delta=3)
        files = re.search(r"Max open files +(\d+)", (folder / "limits").read_text())
        self.assertEqual(figure("max_fds"), int(files[1]))
        self.assertAlmostEqual(figure("start_time_seconds"), self.begun, delta=5)
        ticks = os.sysconf("SC_CLK_TCK")
        words = (folder / "stat").read_text().rpartition(")")[2].split()
        self.assertAlmostEqual(
            figure("cpu_seconds_total"), (int(words[11]) + int(words[12])) / ticks, delta=1)

    def test_the_table_in_the_documentation_has_them_all(self):
        rows = re.findall(r"^\| `((?:podwire|process)_\w+)(?:\{(.*?)\})?` \|", PAGE, re.MULTILINE)
        self.assertEqual(len(rows), len(dict(rows)))
        self.assertEqual({name for name, _ in rows}, self.metrics.names)
        for name, labels in rows:
            found = {label for key in self.metrics.values if key[0] == name
                     for label, _ in key[1:]}
            self.assertEqual(set(filter(None, labels.split(", "))), found, name)

    def test_each_metric_of_a_capture_and_each_fate_is_counted_somewhere(self):
        folder = ROOT / "Sources/Forwarding"
        code = "".join(path.read_text() for path in sorted(folder.rglob("*.swift")))
        counted = re.findall(
            r"\bto: \.(\w+)\)|\bset\(\.(\w+),|\brecord\(\.(\w+)|\bself = \.(\w+)$"
            r"|\bcountSent\(\s*\.(\w+),|\bcount\(lost: [^,\n]*, \.(\w+),|: \.(packetsLost\w+)$",
            code, re.MULTILINE)
        counted = {name for names in counted for name in names}
        for name in ("CaptureMetric", "Fate", "RequestMetric"):
            head = (folder / f"Counters/{name}.swift").read_text().split(" var ")[0]
            cases = [case for line in re.findall(r"^    case (.*)$", head, re.MULTILINE)
                     for case in line.split(", ")]
            self.assertGreater(len(cases), 5)
            self.assertEqual(set(cases) - counted, set())

    def test_the_dashboard_asks_for_what_there_is(self):
        dashboard = json.loads(DASHBOARD)
        queries = [target["expr"] for panel in dashboard["panels"]
                   for target in panel.get("targets", [])]
        queries += [variable["query"]["query"] for variable in dashboard["templating"]["list"]
                    if variable["type"] == "query"]
        self.assertGreater(len(queries), 10)
        for query in queries:
            names = set(re.findall(r"podwire_\w+", query))
            self.assertTrue(names and names <= self.metrics.names, query)
        # As the alerts do, it calls a node by its name, and it shows labels that its queries keep.
        self.assertNotIn("{{instance}}", DASHBOARD)
        # Where nothing sets that label, each agent is still a series of its own.
        self.assertNotRegex(DASHBOARD, r"\b(by|on) \((?!instance, )[^)]*\b(node|edge)\b")
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                kept = re.findall(r"(?:\bby|group_left) \((.*?)\)", target["expr"])
                shown = re.findall(r"\{\{(.*?)\}\}", target["legendFormat"])
                self.assertLessEqual(set(shown), set(re.split(r", ", ", ".join(kept))), target["expr"])
        self.assertIn("$labels.node", ALERTS)
        variables = {variable["name"] for variable in dashboard["templating"]["list"]}
        self.assertLessEqual(set(re.findall(r"\$\{?(\w+)", DASHBOARD)) - {"__rate_interval", "__all"},
                             variables)

    def test_the_alerts_ask_for_what_there_is(self):
        queries = re.findall(r"(podwire_\w+)(?:\{(\w+)\W+(.*?)\"\})?", ALERTS)
        self.assertGreaterEqual(len({name for name, *_ in queries}), 6)
        for name, label, value in queries:
            found = [dict(key[1:]) for key in self.metrics.values if key[0] == name]
            self.assertTrue(found, name)
            if label:
                self.assertIn(label, found[0], name)
            if label == "fate":
                self.assertLessEqual(set(value.split("|")), set(FATES))


if __name__ == "__main__":
    unittest.main()
