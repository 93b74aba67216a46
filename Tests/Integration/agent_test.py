"""The agent as its users start it, against sensors that are not there, refuse, talk nonsense or leave.

PODWIRE names the binary. Each test has a node and a pod in network namespaces of its own.
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import tempfile
import threading
import time
import unittest

from support import rpcap
from support.agent import SERVER_OPENS, UDP, Agent, SensorSession
from support.bed import GATEWAY, POD, Bed, Mark, UDPMark
from support.commands import run
from support.dissector import Recording
from support.endpoint import Endpoint
from support.namespace import (add_namespace, add_wire, ip_in, remove_namespaces, run_in,
                               socket_in)
from support.program import PODWIRE, Program, appended_file
from support.rpcap import CLOSE, END, KEEP_ALL, KEEP_UDP, LIST, LOGIN, STATISTICS
from support.waiting import PATIENCE_SECONDS, wait_until

# There is always the first, and the second when that one is full.
FORWARDING = ("podwire-forward", "podwire-send")
# An agent ends within two seconds; on a busy machine it may need some more.
STOP_SECONDS = 20


class AgentTest(unittest.TestCase):
    def setUp(self):
        self.bed = Bed("at")
        self.addCleanup(self.bed.remove)
        self.closing = []

    def tearDown(self):
        for thing in self.closing:
            thing.close()

    def agent(self, **keywords):
        agent = Agent(self.bed, **keywords)
        self.addCleanup(agent.kill)
        return agent

    def listen(self, *port):
        listener = self.bed.listen(*port)
        self.closing.append(listener)
        return listener

    def session(self, listener):
        session = SensorSession(listener)
        self.closing.append(session)
        return session

    def check_still_serves(self, listener):
        """The next try is a whole session, with packets."""
        session = self.session(listener)
        self.assertEqual(session.start(self.bed)[0], 0x84)
        self.bed.ping()
        self.assertGreater(len(session.packet()), 20)
        return session

    def test_capture_filter_statistics_and_end(self):
        listener = self.listen()
        agent = self.agent()
        session = self.session(listener)
        self.assertEqual(session.start(self.bed)[0], 0x84)
        self.bed.ping(3)
        for number in range(1, 7):
            packet = session.packet()
            seconds, micros, captured, length, count = struct.unpack("!IIIII", packet[:20])
            self.assertLess(abs(time.time() - seconds), 20)
            self.assertLess(micros, 10**6)
            self.assertEqual((captured, count), (len(packet) - 20, number))
        received, dropped, sent = session.statistics()
        self.assertEqual(dropped, 0)
        # The kernel may have counted what it has not handed over yet.
        self.assertGreaterEqual(received, sent)
        self.assertGreaterEqual(sent, 6)

        # With a filter for UDP, ping is not heard any more.
        self.assertEqual(session.ask(rpcap.update(KEEP_UDP))[0], 0x85)
        session.frames_until(UDPMark(self.bed))
        self.assertEqual(self.bed.pings_seen(session, 3, UDPMark(self.bed)), 0)

        # A filter that the kernel would choke on is refused, and the old one stays.
        bad = bytes.fromhex("0015ffff00000000")
        kind, value, text = session.ask(rpcap.update(bad))
        self.assertEqual((kind, value), (1, 7), text)

        self.assertEqual(session.ask(END)[0], 0x8A)
        session.frames_to_the_end()
        session.control.sendall(CLOSE)
        self.check_still_serves(listener)
        self.assertEqual(agent.stop()[0], 0)

    def test_a_filter_may_keep_less_than_a_header(self):
        listener = self.listen()
        self.agent()
        session = self.session(listener)
        self.assertEqual(session.start(self.bed, bytes.fromhex("0006000000000014"))[0], 0x84)
        self.bed.ping(3)
        for _ in range(6):
            packet = session.packet()
            captured, length = struct.unpack("!II", packet[8:16])
            self.assertEqual((captured, len(packet)), (20, 40))
            self.assertGreater(length, 20)

    def test_programs_that_the_kernel_has_no_room_for(self):
        # Most kernels in use let a socket have 20 KiB; newer ones more, and have it by namespace.
        run_in(self.bed.node, "sysctl", "-qw", "net.core.optmem_max=20480", check=False)
        load, keep = bytes.fromhex("0020000000000000"), KEEP_ALL
        listener = self.listen()
        self.agent()
        session = self.session(listener)
        for count in (4000, 100, 600, 3999):
            filter = load * count + keep
            with self.subTest(count):
                reply = (session.start(self.bed, filter) if count == 4000
                         else session.ask(rpcap.update(filter)))
                self.assertIn(reply[0], (0x84, 0x85), reply)
                self.assertEqual(self.bed.pings_seen(session, 5), 10)

    def test_list_has_the_device_first_with_addresses(self):
        listener = self.listen()
        self.agent(INTERFACE="pods0")
        session = self.session(listener)
        self.assertEqual(session.ask(LOGIN), (0x88, 0, b""))
        kind, count, payload = session.ask(LIST)
        self.assertEqual((kind, count), (0x82, 2))
        first, second = rpcap.devices(count, payload)
        self.assertEqual(first[0], "pods0")
        self.assertTrue(first[1].endswith(";preselected"))
        self.assertEqual(second, ("veth-pod", "the pod at 10.244.1.2"))
        address_count = struct.unpack_from("!H", payload, 8)[0]
        addresses = payload[12 + len("".join(first)):][:512 * address_count]
        self.assertEqual(len(addresses), 512 * address_count)
        self.assertIn(bytes([10, 244, 1, 1]), [addresses[i * 512 + 4:i * 512 + 8]
                                               for i in range(address_count)])

    def test_sensor_is_not_there_and_comes_later(self):
        agent = self.agent()
        agent.await_text("sensor not reached")
        agent.endpoint.await_metrics(
            lambda metrics: metrics.sum("podwire_connect_failures_total") >= 3)
        self.assertEqual(agent.text().count("sensor not reached"), 1, "one line for one state")
        self.assertIn("Connection refused", agent.text())
        self.check_still_serves(self.listen())

    def test_sensors_that_misbehave(self):
        nonsense = {
            "closes at once": b"",
            "refuses": bytes.fromhex("0001000b00000002") + b"no",
            "sends garbage": os.urandom(4096),
            "speaks HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "announces 4 GiB": bytes.fromhex("00080000ffffffff"),
            "sends half a header": b"\x00\x08\x00",
        }
        listener = self.listen()
        for what, data in nonsense.items():
            with self.subTest(what):
                agent = self.agent()
                connection = listener.accept()[0]
                connection.sendall(data)
                self.await_end(connection)
                self.check_still_serves(listener)
                self.assertEqual(agent.text().count("session ended"), 1, agent.text())
                agent.stop()

    def await_end(self, connection):
        """Says nothing more, and waits until the agent has closed its side."""
        with connection:
            connection.settimeout(PATIENCE_SECONDS)
            try:
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
            except ConnectionError:
                pass

    def test_sensor_leaves_in_mid_capture(self):
        listener = self.listen()
        agent = self.agent()
        for leave in ("close", "reset"):
            session = self.check_still_serves(listener)
            if leave == "reset":
                session.control.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                           struct.pack("ii", 1, 0))
            session.control.close()
            self.bed.ping()
        self.check_still_serves(listener)
        lines = [line for line in agent.text().splitlines() if "session ended" in line]
        self.assertEqual(len(lines), 2, agent.text())

    def test_a_message_that_is_unknown_does_not_end_the_session(self):
        listener = self.listen()
        agent = self.agent()
        session = self.check_still_serves(listener)
        session.frames_until(UDPMark(self.bed))
        # A second login is one of them.
        for kind in (85, 7, 0x88, 8):
            reply = session.ask(rpcap.message(kind, b"\x00\x02" * 50))
            self.assertEqual(reply[:2], (1, 16))
            self.assertEqual(session.ask(LIST)[0], 0x82)
        self.assertEqual(self.bed.pings_seen(session), 6)
        self.assertNotIn("session ended", agent.text())

    def test_a_sensor_that_lost_its_data_is_dialled_again(self):
        """One that goes on asking, and one that says nothing."""
        listeners = [self.listen(), self.listen(2010)]
        agent = self.agent(sensors="127.0.0.1,127.0.0.1:2010")
        asking, silent = (self.check_still_serves(listener) for listener in listeners)
        asking.data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for session in (asking, silent):
            session.data.close()
        self.bed.ping()
        agent.await_text("the sensor has closed the data connection", 2)
        begin = time.monotonic()
        while True:
            kind, value, text = asking.ask(STATISTICS)
            if kind == 1:
                break
            self.assertEqual(kind, 0x89)
            self.assertLess(time.monotonic() - begin, PATIENCE_SECONDS)
            time.sleep(1)
        self.assertEqual(value, 2)
        self.assertIn(b"no capture was begun within 30 s", text)
        for listener in listeners:
            self.check_still_serves(listener)
        self.assertEqual(agent.text().count("session ended"), 2, agent.text())

    def test_a_port_for_data_has_to_be_named(self):
        listener = self.listen()
        self.agent()
        session = self.session(listener)
        session.ask(LOGIN)
        session.ask(rpcap.open_device(b"any-eth"))
        for flags in (0, UDP, SERVER_OPENS, UDP | SERVER_OPENS):
            kind, value, text = session.ask(rpcap.start(0, flags))
            self.assertEqual((kind, value), (1, 12), text)
            self.assertIn(b"no port", text)
        self.assertEqual(session.ask(LIST)[0], 0x82)

    def test_data_port_is_closed(self):
        listener = self.listen()
        self.agent()
        session = self.session(listener)
        session.ask(LOGIN)
        session.ask(rpcap.open_device(b"any-eth"))
        kind, value, text = session.ask(rpcap.start(1, 4))
        self.assertEqual((kind, value), (1, 12))
        self.assertIn(b"Connection refused", text)
        self.assertEqual(session.ask(LIST)[0], 0x82)

    def test_each_of_two_sensors_has_its_own_capture(self):
        listeners = [self.listen(), self.listen(2010)]
        self.agent(sensors="127.0.0.1,127.0.0.1:2010")
        sessions = [self.check_still_serves(listener) for listener in listeners]
        sessions[0].data.close()
        # The second one goes on as if nothing had happened.
        before = sessions[1].statistics()[2]
        self.bed.ping()
        wait_until(lambda: sessions[1].statistics()[2] >= before + 6, "the second has stopped")

    def test_signals_end_it_within_two_seconds(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                agent = self.agent()
                agent.await_text("sensor not reached")
                code, seconds = agent.stop(number)
                self.assertEqual(code, 0, agent.text())
                self.assertLess(seconds, STOP_SECONDS)

    def test_a_stalled_sensor_does_not_keep_it_from_ending(self):
        listener = self.listen()
        agent = self.agent(PODWIRE_QUEUE_MEMORY="1MiB", PODWIRE_RING_MEMORY="1MiB")
        session = self.session(listener)
        session.start(self.bed)
        # Nobody reads the data connection, so everything between pod and sensor fills up.
        endpoint = Endpoint(self.bed.node)
        with socket_in(self.bed.pod, kind=socket.SOCK_DGRAM) as sender:
            def is_full():
                for _ in range(100):
                    sender.sendto(bytes(20_000), (GATEWAY, 9))
                forwarded, sent = (endpoint.fresh_metrics().sum(f"podwire_packets_{what}_total")
                                   for what in ("forwarded", "sent"))
                return forwarded - sent >= 100

            wait_until(is_full, "nothing waits for the sensor")
        self.assertEqual(session.ask(STATISTICS)[0], 0x89, "control answers while data stalls")
        code, seconds = agent.stop()
        self.assertEqual(code, 0, agent.text())
        self.assertLess(seconds, STOP_SECONDS)
        self.assertRegex(agent.text(), r"abandoned_bytes=[1-9]")
        self.assertRegex(agent.text(), r"abandoned_packets=[1-9]")

    def test_settings_are_refused_before_anything_happens(self):
        cases = {
            ("PODNET", "10.244.0.0/33"): "PODNET=10.244.0.0/33",
            ("RPCAPD_TARGET_PORT", "70000"): "RPCAPD_TARGET_PORT=70000",
            ("PODNET", None): "PODNET is not set",
            ("EXTRAHOP_SENSOR_IP", ""): "EXTRAHOP_SENSOR_IP is not set",
            ("PODWIRE_RATE_LIMIT", "fast"): "PODWIRE_RATE_LIMIT=fast",
            ("PODWIRE_CPUS", "1-"): "PODWIRE_CPUS=1-",
            ("PODWIRE_CPUS", "8192"): "PODWIRE_CPUS=8192",
            ("PODWIRE_CPUS", "8191"): "--cpus 8191 cannot be had",
            ("PODWIRE_CPUS", "0-5000"): "cannot be had",
            ("PODWIRE_NICE", "20"): "PODWIRE_NICE=20",
        }
        for (variable, value), expected in cases.items():
            with self.subTest(f"{variable}={value}"):
                environment = dict(os.environ, EXTRAHOP_SENSOR_IP="127.0.0.1",
                                   PODNET="10.244.0.0/16") | {variable: value}
                environment = {name: text for name, text in environment.items() if text is not None}
                done = run(PODWIRE, "agent", env=environment, check=False)
                self.assertEqual(done.returncode, 64)
                self.assertEqual(len(done.stderr.splitlines()), 1)
                self.assertIn(expected, done.stderr)
        done = run(PODWIRE, "agent", "--no-such-option", check=False)
        self.assertEqual(done.returncode, 64)
        self.assertIn("--no-such-option", done.stderr)

    def test_a_variable_that_is_no_setting_is_named(self):
        agent = self.agent(PODWIRE_DEDUPE="off", PODWIRE_SERVICE_HOST="10.96.0.7",
                           PODWIRE_SERVICE_PORT="80", PODWIRE_PORT_80_TCP_ADDR="10.96.0.7",
                           PODWIRE_COLLECT_PASSWORD="secret")
        agent.await_text("agent started")
        lines = agent.lines("is no setting")
        self.assertEqual(len(lines), 1, agent.text())
        self.assertIn(" warning PODWIRE_DEDUPE is no setting; did you mean PODWIRE_DEDUP?", lines[0])
        self.assertNotIn("dedup=off", agent.text())
        self.assertEqual(agent.stop()[0], 0)

    def test_an_empty_podnet_stands_for_the_networks_of_the_uplink(self):
        """As ExtraHop's image takes it; a pod is then what has an address there, and nothing else."""
        environment = {**os.environ, "PODNET": "", "EXTRAHOP_SENSOR_IP": "127.0.0.1"}
        done = run_in(self.bed.node, PODWIRE, "agent", env=environment, check=False)
        self.assertEqual(done.returncode, 64, done.stderr)
        self.assertIn("the default route's interface, and there are none", done.stderr)
        # The pod as ptp plug-ins connect it: a network on its veth would be taken for an uplink's.
        ip_in(self.bed.node, "addr", "flush", "dev", "veth-pod")
        ip_in(self.bed.node, "addr", "add", f"{GATEWAY}/32", "dev", "veth-pod")
        ip_in(self.bed.node, "route", "add", POD, "dev", "veth-pod")
        outside = f"{self.bed.node}-outside"
        self.addCleanup(remove_namespaces, outside)
        add_namespace(outside)
        add_wire(self.bed.node, "uplink", outside)
        ip_in(self.bed.node, "addr", "add", "192.168.7.1/24", "dev", "uplink")
        ip_in(self.bed.node, "route", "add", "default", "via", "192.168.7.100")
        agent = self.agent(PODNET="")
        agent.await_text("agent started")
        warnings = agent.lines("PODNET is empty")
        self.assertEqual(len(warnings), 1, agent.text())
        self.assertRegex(warnings[0], r' warning .*pod_networks="[^"]*192\.168\.7\.0/24[^"]* of uplink"')
        self.assertRegex(agent.text(), r"pod_networks=\S*192\.168\.7\.0/24")
        agent.await_text("does not have an address in PODNET")
        self.assertEqual(agent.stop()[0], 0)
        # The other commands see the node as that agent does, and pods of that network are captured.
        for expected in ("left out", "captured"):
            done = run_in(self.bed.node, PODWIRE, "edges", env=environment)
            self.assertRegex(done.stdout, rf"(?m)^veth-pod .* {expected}$")
            ip_in(self.bed.pod, "addr", "replace", "192.168.7.5/24", "dev", "eth0")
        done = run_in(self.bed.node, PODWIRE, "explain", "udp", "192.168.7.5:1", "192.0.2.1:2",
                      env=environment)
        self.assertEqual(done.stdout.splitlines()[0], "Reported by veth-pod.")

    def test_pod_networks_of_others_are_warned_about_once(self):
        agent = self.agent(PODNET="10.99.0.0/16", SVCNET="172.20.0.0/16")
        agent.await_text("sensor not reached")
        warning = ("the one pod here does not have an address in PODNET 10.99.0.0/16: "
                   "it has 10.244.1.2; the agent captures nothing")
        self.assertEqual(agent.text().count(warning), 1, agent.text())
        for text in ("no pod has an edge", "none of this node's veths", "is one address", "overlap"):
            self.assertNotIn(text, agent.text())
        # Neither changes of the pod nor another one are news.
        ip_in(self.bed.pod, "addr", "add", "10.244.1.9/24", "dev", "eth0")
        add_wire(self.bed.node, "veth-2", self.bed.pod, "eth1")
        ip_in(self.bed.pod, "addr", "add", "10.244.1.10/24", "dev", "eth1")
        agent.endpoint.await_page("/edges", 200, "veth-2")
        agent.endpoint.await_page("/readyz", 503, "2 pods")
        self.assertEqual(agent.text().count("in PODNET"), 1, agent.text())
        agent.stop()

    def test_a_pod_network_without_its_mask_is_warned_about(self):
        agent = self.agent(PODNET="10.244.0.0", SVCNET="10.240.0.0/12")
        agent.await_text("sensor not reached")
        for text in ("10.244.0.0/32 is one address", "such as 10.244.0.0/16",
                     "10.244.0.0/32 and the service networks overlap",
                     "does not have an address in PODNET 10.244.0.0/32"):
            self.assertEqual(agent.text().count(text), 1, agent.text())

    def test_a_node_without_pods_says_so(self):
        ip_in(self.bed.node, "link", "del", "veth-pod")
        agent = self.agent()
        agent.await_text("no pod has an edge on this node yet")
        self.assertNotIn("PODNET", agent.text())

    def test_what_was_set_is_told_at_the_start(self):
        agent = self.agent(SVCNET="172.20.0.0/16,fd00::/112", PODWIRE_UNCOVERED="10.244.9.0/24",
                           PODWIRE_INCLUDE_EDGES="a*,b*", PODWIRE_EXCLUDE_EDGES="c",
                           PODWIRE_DEDUP="off", PODWIRE_FRAMES="raw", PODWIRE_EDGES="all")
        agent.await_text("agent started")
        line = next(line for line in agent.text().splitlines() if "agent started" in line)
        for text in ("edges=all", "edge_count=1", "service_networks=172.20.0.0/16,fd00::/112",
                     "uncovered=10.244.9.0/24", "included=a*,b*", "excluded=c", "dedup=off",
                     "frames=raw", "version="):
            self.assertIn(f" {text}", line)

    def test_edges_takes_what_an_agent_takes(self):
        edges = (self.bed.node, PODWIRE, "edges")
        done = run_in(*edges, "--sensor", "192.0.2.1", "--pod-network", "10.244.0.0/16", "--dedup",
                      "off", "--service-network", "10.96.0.0/12", "--uncovered", "10.244.9.0/24")
        self.assertEqual(done.stderr, "")
        self.assertRegex(done.stdout, r"(?m)^veth-pod .* captured$")
        for more in ((), ("--json",)):
            done = run_in(*edges, *more)
            self.assertRegex(done.stderr, r"^podwire edges: without --pod-network or PODNET .*\n$")
            self.assertIn("captured", done.stdout)

    def test_a_missing_capability_is_named(self):
        done = run("setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw", PODWIRE,
                   "agent", "--sensor", "127.0.0.1", "--pod-network", "10.244.0.0/16", check=False)
        self.assertEqual(done.returncode, 77, done.stderr)
        self.assertIn("CAP_NET_RAW", done.stderr)
        self.assertIn("securityContext.capabilities", done.stderr)

    def test_what_it_does_not_need_it_gives_up(self):
        """All threads, and also what a program that it could run would get."""
        bits = {"net_bind_service": 10, "net_broadcast": 11, "net_admin": 12, "net_raw": 13,
                "sys_nice": 23, "bpf": 39, "dac_read_search": 2, "dac_override": 1}
        least = {"net_raw", "net_admin", "net_broadcast", "bpf"}
        file = tempfile.NamedTemporaryFile("w", suffix=".filter")
        file.write("tcp\n")
        file.flush()
        # Nobody but its owner, who is somebody else, may read it.
        os.chown(file.name, 12345, 12345)
        os.chmod(file.name, 0o600)
        for arguments, prefix, more in (
                ((), (), set()),
                (("--nice", "-5"), (), {"sys_nice"}),
                (("--http", "127.0.0.1:80"), (), {"net_bind_service"}),
                (("--filter-file", file.name), (), {"dac_read_search"}),
                (("--filter-file", file.name), ("setpriv", "--bounding-set", "-dac_read_search"),
                 {"dac_override"})):
            with self.subTest(arguments):
                agent = Agent(self.bed, "127.0.0.1", arguments, prefix)
                self.addCleanup(agent.kill)
                agent.await_text("sensor not reached")
                self.assertRegex(agent.text(), r"not needed given up count=\d+")
                mask = sum(1 << bits[name] for name in least | more)
                tasks = list(pathlib.Path(f"/proc/{agent.process.pid}/task").iterdir())
                self.assertGreater(len(tasks), 5)
                for task in tasks:
                    status = dict(re.findall(r"(\w+):\s+(\S+)", (task / "status").read_text()))
                    for name in ("CapPrm", "CapEff", "CapBnd"):
                        self.assertEqual(int(status[name], 16) & ~mask, 0, (name, status))
                        self.assertEqual(int(status[name], 16), mask, (name, status))
                    for name in ("CapInh", "CapAmb"):
                        self.assertEqual(int(status[name], 16), 0, name)
                    self.assertEqual(status["NoNewPrivs"], "1")
                self.assertEqual(agent.stop()[0], 0)

    def test_a_file_of_somebody_else_is_read_again(self):
        file = tempfile.NamedTemporaryFile("w", suffix=".filter")
        os.chown(file.name, 12345, 12345)
        os.chmod(file.name, 0o600)
        file.write("tcp\n")
        file.flush()
        agent = Agent(self.bed, "127.0.0.1", ("--filter-file", file.name))
        self.addCleanup(agent.kill)
        agent.await_text("sensor not reached")
        file.write("or udp\n")
        file.flush()
        agent.await_text("or udp")
        self.assertNotIn("denied", agent.text())

    def test_a_name_server_that_is_silent_keeps_it_from_nothing(self):
        # ip(8) puts this file into the place of the other in that namespace.
        folder = pathlib.Path("/etc/netns", self.bed.node)
        folder.mkdir(parents=True)
        self.addCleanup(shutil.rmtree, folder)
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:30\n")
        silent = socket_in(self.bed.node, kind=socket.SOCK_DGRAM)
        self.addCleanup(silent.close)
        silent.bind(("127.0.0.1", 53))
        silent.settimeout(PATIENCE_SECONDS)
        agent = Agent(self.bed, "eda.test")
        self.addCleanup(agent.kill)
        self.assertIn(b"eda", silent.recv(512))
        code, seconds = agent.stop()
        self.assertEqual(code, 0)
        self.assertLess(seconds, STOP_SECONDS)
        self.assertNotIn("sensor not reached", agent.text())

    def test_a_niceness_that_is_not_allowed_is_named(self):
        for niceness, remedy in ((-5, "0 to 19"), (3, "7 to 19")):
            with self.subTest(niceness):
                inherited = ("nice", "-n", "7") if niceness == 3 else ()
                done = run(*inherited, "setpriv", "--bounding-set", "-sys_nice", "--inh-caps",
                           "-sys_nice", PODWIRE, "agent", "--sensor", "127.0.0.1", "--pod-network",
                           "10.244.0.0/16", "--nice", str(niceness), check=False)
                self.assertEqual(done.returncode, 77, done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1)
                self.assertIn("CAP_SYS_NICE", done.stderr)
                self.assertIn("securityContext.capabilities", done.stderr)
                self.assertIn(remedy, done.stderr)

    def threads(self, agent):
        """Where each thread may run, and its niceness, by its name and number."""
        found = {}
        for task in pathlib.Path(f"/proc/{agent.pid}/task").iterdir():
            name = (task / "comm").read_text().strip()
            # The name may have spaces, and ends the part of the line that can have them.
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            allowed = re.search(r"Cpus_allowed_list:\s+(\S+)", (task / "status").read_text())[1]
            found[name, int(task.name)] = (allowed, int(fields[16]))
        return found

    def test_forwarding_threads_are_where_they_should_be(self):
        processors = sorted(os.sched_getaffinity(0))
        if len(processors) < 2:
            self.skipTest("one processor is as good as any")
        first, last = processors[0], processors[-1]
        # As the kernel writes it.
        both = f"{first}-{last}" if last == first + 1 else f"{first},{last}"
        listener = self.listen()
        for variables, wanted in (
                ({}, None),
                ({"PODWIRE_CPUS": str(last), "PODWIRE_NICE": "5"}, (str(last), 5)),
                ({"PODWIRE_NICE": "-3"}, (None, -3)),
                ({"PODWIRE_CPUS": f"{first},{last}"}, (both, 0))):
            with self.subTest(variables):
                agent = self.agent(**variables)
                self.check_still_serves(listener)
                threads = self.threads(agent)
                untouched = threads["podwire", agent.pid]
                self.assertEqual(untouched[1], 0)
                wanted = wanted or untouched
                names = [name for name, _ in threads]
                self.assertEqual(names.count("podwire-forward"), 1)
                placed = {place for (name, _), place in threads.items() if name in FORWARDING}
                self.assertEqual(placed, {(wanted[0] or untouched[0], wanted[1])}, threads)
                others = {place for (name, _), place in threads.items() if name not in FORWARDING}
                self.assertEqual(others, {untouched}, threads)
                self.assertGreater(len(threads), 4)
                self.assertEqual(agent.stop()[0], 0)

    def test_a_limit_of_the_feed_leaves_packets_out(self):
        listener = self.listen()
        agent = self.agent(PODWIRE_RATE_LIMIT="1MiB", arguments=("--frames", "raw"))
        session = self.session(listener)
        self.assertEqual(session.start(self.bed)[0], 0x84)
        received, sent_all = [], threading.Event()

        def read():
            while not sent_all.is_set():
                if session.has_data(0.05):
                    received.append(session.frame())
            received.extend(session.frames_until(Mark(self.bed)))

        reader = threading.Thread(target=read)
        reader.start()
        begin = time.monotonic()
        with socket_in(self.bed.pod, kind=socket.SOCK_DGRAM) as sender:
            def is_limited():
                # Short packets and long ones in turn, more than ten times what the limit allows.
                for _ in range(1000):
                    sender.sendto(bytes(200), (GATEWAY, 9))
                    sender.sendto(bytes(1400), (GATEWAY, 9))
                return time.monotonic() > begin + 3 and 1000 < agent.endpoint.metrics().sum(
                    "podwire_frames_total", fate="limited")

            wait_until(is_limited, "not many packets are left out", interval=0)
        sent_all.set()
        reader.join()
        seconds = time.monotonic() - begin
        byte_count = sum(28 + len(frame) for frame in received)
        most = (seconds + 0.2) * (1 << 20)
        self.assertLess(byte_count, most)
        # A busy machine may send nothing for a while, and what was not used then is lost.
        self.assertGreater(byte_count, 512 << 10)
        got, dropped, sent = session.settled_statistics()
        # Behind the mark may have come what the kernel says by itself.
        for _ in range(len(received) + 1, sent):
            session.frame()
        self.assertEqual(session.ask(END)[0], 0x8A)
        agent.await_text("capture ended")
        counts = agent.counts()
        self.assertGreater(counts["limited"], 1000)
        self.assertEqual(dropped, counts["limited"] + counts["dropped_by_ring"]
                         + counts["dropped_by_block"] + counts["dropped_by_queue"])
        short = sum(len(frame) < 1000 for frame in received)
        self.assertLess(abs(short / len(received) - 0.5), 0.05)

    def test_without_net_admin_it_says_so_and_goes_on(self):
        listener = self.listen()
        agent = self.agent(prefix=("setpriv", "--bounding-set", "-net_admin", "--inh-caps",
                                   "-net_admin"))
        self.check_still_serves(listener)
        self.assertIn("CAP_NET_ADMIN", agent.text())

    def test_wireshark_understands_the_session(self):
        listener = self.listen()
        with Recording(self.bed.node) as recording:
            self.agent()
            session = self.check_still_serves(listener)
            session.ask(STATISTICS)
            session.ask(END)
            session.control.sendall(CLOSE)
        recording.check(self, 8, 136, 2, 130, 3, 131, 4, 132, 9, 137, 10, 138, 6, 7)

    def test_wireshark_understands_plain_datagrams(self):
        listener = self.listen()
        with Recording(self.bed.node) as recording:
            self.agent(PODWIRE_UDP_FORMAT="packet")
            session = self.session(listener)
            session.ask(LOGIN)
            session.ask(rpcap.open_device(b"any-eth"))
            session.data = socket_in(self.bed.node, kind=socket.SOCK_DGRAM)
            session.data.bind(("127.0.0.1", 0))
            port = session.data.getsockname()[1]
            self.assertEqual(session.ask(rpcap.start(port, UDP | SERVER_OPENS))[0], 0x84)
            self.bed.ping()
            session.ask(END)
            session.control.sendall(CLOSE)
        recording.check(self, 8, 136, 3, 131, 4, 132, 10, 138, 6, 7)

    def test_udpstr_for_a_sensor_that_asks_for_datagrams(self):
        listener = self.listen()
        agent = self.agent()
        session = self.session(listener)
        session.ask(LOGIN)
        session.ask(rpcap.open_device(b"any-eth"))

        def open_port(port):
            receiver = socket_in(self.bed.node, kind=socket.SOCK_DGRAM)
            self.closing.append(receiver)
            receiver.bind(("127.0.0.1", port))
            receiver.settimeout(PATIENCE_SECONDS)
            return receiver

        receiver = open_port(0)
        port = receiver.getsockname()[1]
        reply = session.ask(rpcap.start(port, UDP | SERVER_OPENS))
        # As from the daemon that sensors know.
        self.assertEqual(reply, (0x84, 0, bytes(8)))

        def packets(count):
            """As many packets, or a few more, and how the datagrams began."""
            found, firsts, numbers, partial = [], [], [], b""
            while len(found) < count or partial:
                datagram = receiver.recv(65536)
                self.assertLessEqual(len(datagram), 1472)
                version, kind, first, number = struct.unpack_from("!BBHI", datagram)
                self.assertEqual((version, kind), (0, 0x6E))
                firsts.append(first)
                numbers.append(number)
                stream = partial + datagram[8:]
                while len(stream) >= 20:
                    end = 20 + struct.unpack_from("!I", stream, 8)[0]
                    if len(stream) < end:
                        break
                    found.append(stream[:end])
                    stream = stream[end:]
                partial = stream
            self.assertEqual(partial, b"")
            return found, firsts, numbers

        # A datagram that is not full does not wait until it is.
        self.bed.ping(3)
        found, firsts, numbers = packets(6)
        self.assertEqual([struct.unpack_from("!I", packet, 16)[0] for packet in found],
                         list(range(1, len(found) + 1)))
        self.assertEqual(firsts, [8] * len(firsts))
        self.assertEqual(numbers, list(range(len(numbers))))

        # Frames that do not fit into a datagram go on in the next one.
        self.bed.ping(10, 900)
        found, firsts, numbers = packets(20)
        self.assertGreater(len(set(firsts)), 2, firsts)
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + len(numbers))))

        # A port that is closed for a while ends nothing.
        receiver.close()
        self.bed.ping(5)
        agent.endpoint.await_metrics(
            lambda metrics: metrics.sum("podwire_datagrams_refused_total") > 0)

        session.settled_statistics()
        receiver = open_port(port)
        self.bed.ping(3)
        self.assertGreaterEqual(len(packets(6)[0]), 6)
        self.assertEqual(session.ask(END)[0], 0x8A)
        agent.await_text("capture ended")
        self.assertRegex(agent.text(), r"datagrams_refused=[1-9]")
        self.assertNotIn("abandoned_bytes", agent.text())


class UserSignalsTest(unittest.TestCase):
    """SIGUSR1 and SIGUSR2, which end a program that does not know of them."""

    @classmethod
    def setUpClass(cls):
        cls.bed = Bed("us")

    @classmethod
    def tearDownClass(cls):
        cls.bed.remove()

    def survive(self, program):
        """Sends both to a program that is at work, and ends it: it has not died of them."""
        self.addCleanup(program.kill)
        for number in (signal.SIGUSR2, signal.SIGUSR1):
            program.process.send_signal(number)

    def test_an_agent_logs_its_summary(self):
        agent = Agent(self.bed, PODWIRE_LOG_LEVEL="warning")
        # Only then does it wait for signals.
        agent.await_text("sensor not reached")
        self.assertNotIn(" summary ", agent.text())
        self.survive(agent)
        agent.await_text(" summary ")
        agent.process.send_signal(signal.SIGUSR1)
        agent.await_text(" summary ", 2)
        self.assertEqual(agent.stop()[0], 0)

    def test_other_commands_go_on(self):
        with tempfile.TemporaryDirectory() as folder, appended_file() as output:
            watch = Program(self.bed.node, "edges", "--pod-network", "10.244.0.0/16", "--watch", output=output)

            def is_shown():
                output.seek(0)
                return "veth-pod" in output.read()

            wait_until(is_shown, watch.text)
            opener = Program(self.bed.node, "opener", "--opener", f"{folder}/socket")
            opener.await_text("opener listening")
            collector = Program(self.bed.node, "collect", "-o", f"{folder}/file", output=output)
            collector.await_text("listening")
            for program in (watch, opener, collector):
                with self.subTest(program.process.args):
                    self.survive(program)
                    self.assertEqual(program.stop(), 0)


class CommandLineTest(unittest.TestCase):
    """What people type who do not know the program yet."""

    def test_a_misspelt_command_is_told_with_the_nearest(self):
        for words, advice in ((["agnet"], "did you mean 'agent'?"), (["edge"], "did you mean 'edges'?"),
                              (["help", "colect"], "did you mean 'collect'?"),
                              (["frobnicate", "--json"], "there are agent, collect, doctor, ")):
            done = run(PODWIRE, *words, check=False)
            self.assertEqual((done.returncode, done.stdout), (64, ""))
            word = words[1] if words[0] == "help" else words[0]
            self.assertTrue(done.stderr.startswith(f"podwire: no command '{word}': {advice}"), done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)

    def test_the_version_has_the_programs_name(self):
        for words in (["version"], ["--version"], ["agent", "--version"]):
            self.assertRegex(run(PODWIRE, *words).stdout, r"^podwire \d+\.\d+\.\d+( \([0-9a-f]+\+?\))?\n$")

    def test_help_begins_with_a_commands_own_options(self):
        for command, own in (("edges", {"--json", "--watch"}),
                             ("doctor", {"--strict", "--json", "--manifest"})):
            text = run(PODWIRE, command, "--help").stdout
            options = set(re.findall(r"(?m)^  (--[a-z-]+)", text))
            self.assertEqual(options, own | {"--no-color", "--version"})
            self.assertIn("all options of `podwire agent`", " ".join(text.split()))
            self.assertIn("--frames <wire|raw>", run(PODWIRE, command, "--help-hidden").stdout)
        text = run(PODWIRE, "agent", "--help").stdout
        first = text[text.index("REQUIRED:"):]
        self.assertEqual(re.findall(r"(?m)^  (--[a-z-]+)", first)[:2], ["--sensor", "--pod-network"])

    def test_names_of_values_say_what_is_accepted(self):
        """None only repeats the option's name."""
        for command in ("agent", "collect", "doctor", "edges", "explain", "filter", "opener", "password",
                        "top"):
            text = run(PODWIRE, command, "--help-hidden").stdout
            for option, value in re.findall(r"--([a-z-]+) <([^>]*)>", text):
                self.assertNotEqual(option, value, command)


class CompletionTest(unittest.TestCase):
    # What bash does when Tab is pressed behind the words that it is given.
    COMPLETE = """
        source <("$0" --generate-completion-script bash)
        COMP_WORDS=(podwire "$@") COMP_CWORD=$# COMP_LINE="podwire $*" COMP_TYPE=9
        COMP_POINT=${#COMP_LINE}
        function=$(complete -p podwire | sed "s/.*-F \\([^ ]*\\).*/\\1/")
        "$function" podwire "${@: -1}" "${COMP_WORDS[-2]}"
        printf "%s\\n" "${COMPREPLY[@]}"
        """

    def completions(self, *words, folder):
        program = os.path.abspath(PODWIRE)
        return set(run("bash", "-c", self.COMPLETE, program, *words, cwd=folder).stdout.split())

    def test_a_shell_completes_words_files_folders_and_interfaces(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "sub").mkdir()
            (folder / "edge.pcap").touch()
            (folder / "users").touch()
            for words, expected in {
                    ("agent", "--frames", ""): {"wire", "raw"},
                    ("agent", "--log-level", "w"): {"warning"},
                    ("agent", "--password-file", ""): {"sub", "edge.pcap", "users"},
                    ("password", "eve", "--file", "us"): {"users"},
                    ("agent", "--cni-cache", ""): {"sub"},
                    ("explain", "--file", ""): {"sub", "edge.pcap"},
                    ("explain", "--edge", ""): set(os.listdir("/sys/class/net")),
                    ("agent", "--sensor-port", ""): set(),
            }.items():
                with self.subTest(" ".join(words)):
                    self.assertEqual(self.completions(*words, folder=folder), expected)


if __name__ == "__main__":
    unittest.main()
