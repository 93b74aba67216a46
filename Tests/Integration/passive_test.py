"""The agent as clients know it that dial it: passive mode, logins, devices, data over UDP, and TLS.

PODWIRE names the binary. Each test has a node and a pod in network namespaces of its own, and clients
in the node's.
"""

import itertools
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import unittest

from support import frames, rpcap
from support.agent import CLIENT_PORT as PORT
from support.agent import SERVER_OPENS, UDP, Agent, Client
from support.bed import GATEWAY, POD, Bed, Mark, UDPMark
from support.commands import make_certificate, run
from support.dissector import Recording
from support.frames import Frame, pings
from support.namespace import ip_in, listener_in, python_in, run_in, socket_in
from support.program import PODWIRE, Program
from support.rpcap import CLOSE, END, KEEP_ALL, KEEP_UDP, LIST, LOGIN, STATISTICS
from support.waiting import PATIENCE_SECONDS, wait_until

CLIENT_COUNT_MAX = 16
# For so long a silent client is safe from others of its address.
SILENT_SECONDS = 3

# As many small packets as the machine makes, to the gateway.
FLOOD = """
import socket
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setsockopt(socket.IPPROTO_UDP, 103, 18)  # UDP_SEGMENT
while True:
    try:
        out.sendto(b"." * 18 * 32, ("10.244.1.1", 9))
    except ConnectionRefusedError:
        pass
"""


# Connections from so many addresses in turn, each with a wrong password: the last hundred stay open.
STORM = """
import itertools, socket, sys
login = bytes.fromhex("0008000000000010" "0001000000030005") + b"eveguess"
open_ones = []
for number in itertools.cycle(range(1 << 16, (1 << 16) + int(sys.argv[1]))):
    client = socket.socket()
    client.settimeout(5)
    client.bind((f"127.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0))
    try:
        client.connect(("127.0.0.1", 2002))
        client.sendall(login)
    except OSError:
        pass
    open_ones.append(client)
    if len(open_ones) > 100:
        open_ones.pop(0).close()
"""

# Silent connections, each from an address of its own. Those that stay open are more than the kernel
# keeps for the agent, so each is accepted before it is closed.
CROWD = """
import collections, signal, socket
open_ones = collections.deque()
for number in range(10_000):
    client = socket.socket()
    client.settimeout(60)
    client.bind((f"127.1.{number >> 8}.{number & 255}", 0))
    client.connect(("127.0.0.1", 2002))
    open_ones.append(client)
    if len(open_ones) > 1500:
        open_ones.popleft().close()
signal.pause()
"""


class PassiveTest(unittest.TestCase):
    def setUp(self):
        self.bed = Bed("pt")
        self.addCleanup(self.bed.remove)
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def agent(self, listen=f"127.0.0.1:{PORT}", login=("--allow-null-login",), arguments=(),
              **variables):
        agent = Agent(self.bed, sensors="", arguments=(
            "--listen", listen, *login, *arguments), **variables)
        self.addCleanup(agent.kill)
        agent.await_text("listening for clients")
        return agent

    def client(self, *arguments, **keywords):
        client = Client(self.bed.node, *arguments, **keywords)
        self.addCleanup(client.close)
        return client

    def capturing(self, device=b"any-eth", **keywords):
        client = self.client()
        client.log_in(device)
        client.start(**keywords)
        return client

    def check_gets_packets(self, client, count=3):
        self.assertEqual(self.bed.pings_seen(client, count), 2 * count)

    # Sessions

    def test_a_whole_session(self):
        agent = self.agent()
        client = self.client()
        self.assertEqual(client.ask(LOGIN), (0x88, 0, bytes.fromhex("00000000d4c3b2a1")))
        kind, count, payload = client.ask(LIST)
        self.assertEqual(kind, 0x82)
        self.assertEqual(rpcap.devices(count, payload), [
            ("any-eth", "every pod of this node, each packet once"),
            ("veth-pod", "the pod at 10.244.1.2")])
        self.assertEqual(client.ask(rpcap.open_device(b"eth9"))[:2], (1, 6))
        self.assertEqual(client.ask(rpcap.start())[:2], (1, 12))
        client.ask(rpcap.open_device(b"any-eth"))
        for _ in range(2):
            client.start()
            self.check_gets_packets(client)
            _, dropped, sent = client.settled_statistics()
            self.assertGreaterEqual(sent, 6)
            self.assertEqual(dropped, 0)
            self.assertEqual(client.ask(rpcap.update(KEEP_UDP))[0], 0x85)
            client.frames_until(UDPMark(self.bed))
            self.bed.ping()
            self.assertEqual(client.frames_until(UDPMark(self.bed)), [])
            self.assertEqual(client.ask(END)[0], 0x8A)
            client.frames_to_the_end()
        client.control.sendall(CLOSE)
        self.assertEqual(client.control.recv(1), b"")
        self.assertEqual(agent.stop()[0], 0, agent.text())

    def test_several_clients_each_with_a_capture_of_its_own(self):
        self.agent()
        clients = [self.capturing() for _ in range(3)]
        # One that reads nothing, and one that leaves, change nothing for the others.
        clients[0].data.close()
        clients[0].control.close()
        self.check_gets_packets(clients[1])
        self.assertEqual(len(pings(clients[2].frames_until(Mark(self.bed)))), 6)

    def test_there_are_only_so_many_clients(self):
        agent = self.agent()
        clients = []
        for _ in range(CLIENT_COUNT_MAX):
            clients.append(self.client())
            clients[-1].log_in()
        kind, value, text = self.client().ask(LOGIN)
        self.assertEqual((kind, value), (1, 1))
        self.assertIn(str(CLIENT_COUNT_MAX).encode(), text)
        before = agent.text().count("client session ended")
        clients[0].control.close()
        agent.await_text("client session ended", before + 1)
        self.client().log_in()

    def test_those_who_do_not_log_in_keep_nobody_out(self):
        self.agent()
        began = time.monotonic()
        here = [self.client() for _ in range(4)]
        kind, value, _ = self.client().ask(LOGIN)
        # On a machine so slow that the first one has had its time, the fifth gets its place.
        if time.monotonic() - began < SILENT_SECONDS:
            self.assertEqual((kind, value), (1, 1), "four from one address are enough")
        others = [self.client(source=f"127.0.0.{number}") for number in range(2, 18)]
        for client in others[-3:]:
            client.log_in()
        self.check_had_to_go(here[0])

    def check_had_to_go(self, client):
        """The client is told to make room, and its connection ends."""
        kind, value, text = client.answer()
        self.assertEqual((kind, value), (1, 1))
        self.assertIn(b"had not logged in", text)
        self.assertEqual(client.control.recv(1), b"")

    def test_who_shares_an_address_with_silent_clients_gets_in_after_them(self):
        self.agent()
        silent = [self.client() for _ in range(4)]
        wait_until(lambda: self.can_log_in(LOGIN), "the silent ones keep it out")
        self.check_had_to_go(silent[0])

    def test_ten_thousand_silent_clients_take_few_threads_and_descriptors(self):
        agent = self.agent()
        # By then all that an agent has is there.
        self.client().log_in()
        agent.endpoint.await_page("/readyz", 200)
        descriptors, threads, _ = agent.uses()
        crowd = subprocess.Popen(python_in(self.bed.node, CROWD))
        self.addCleanup(crowd.wait)
        self.addCleanup(crowd.kill)
        peak = (0, 0)

        def are_gone():
            """Whether all but those that wait were sent away; looks at what the agent uses, too."""
            nonlocal peak
            used = agent.uses()
            peak = max(peak[0], used[0]), max(peak[1], used[1])
            metrics = agent.endpoint.metrics()
            return (metrics.sum("podwire_clients_evicted_total", reason="not_logged_in")
                    + metrics.sum("podwire_clients_refused_total")) == 10_000 - 16

        wait_until(are_gone, "some are neither here nor counted", interval=0.1)
        # 16 that wait and 16 that leave, each with a thread and two descriptors; and 32 refused ones
        # that read the reason.
        self.assertLessEqual(peak[1] - threads, 32 + 2)
        self.assertLessEqual(peak[0] - descriptors, 2 * 32 + 32 + 4)
        wait_until(lambda: agent.uses()[1] - threads <= 16, lambda: f"{agent.uses()[1]} threads")
        self.client().log_in()

    def start_storm(self, address_count):
        """Wrong passwords that pour in from so many addresses; returns their process."""
        storm = subprocess.Popen(python_in(self.bed.node, STORM, str(address_count)))
        self.addCleanup(storm.wait)
        self.addCleanup(storm.kill)
        return storm

    def test_a_right_password_is_accepted_while_wrong_ones_pour_in(self):
        agent = self.agent(login=("--password-file", self.password_file(("eve", "secret"))))
        right = rpcap.login(b"eve", b"secret")
        # From this address a login was right before, so it has places of its own.
        self.assertTrue(self.can_log_in(right))
        _, threads, _ = agent.uses()
        storm = self.start_storm(1 << 23)
        for reason in ("wrong", "too_many_at_once"):
            agent.endpoint.await_metrics(
                lambda metrics: metrics.sum("podwire_logins_refused_total", reason=reason) > 10,
                f"no login is {reason}")
        for _ in range(5):
            # At the first try: it waits for those that connected before, and for no password but its own.
            self.assertTrue(self.can_log_in(right))
            self.assertLessEqual(agent.uses()[1] - threads, 32 + 4)
        self.assertIsNone(storm.poll())
        # A new one shares what is left, and is told so.
        for number in range(20):
            self.is_let_in_or_told(right, number)

    def test_a_new_client_gets_in_while_a_few_hosts_pour_in_wrong_passwords(self):
        agent = self.agent(login=("--password-file", self.password_file(("eve", "secret"))))
        storm = self.start_storm(20)
        agent.endpoint.await_metrics(lambda metrics: metrics.sum(
            "podwire_logins_refused_total", reason="wrong") >= 60, "they are not barred")
        numbers = itertools.count()
        wait_until(lambda: self.is_let_in_or_told(rpcap.login(b"eve", b"secret"), next(numbers)),
                   "no new client is let in")
        self.assertIsNone(storm.poll())

    def is_let_in_or_told(self, login, number):
        """Whether a client of an address of its own can log in. If it cannot, it is told to try again."""
        client = self.client(source=f"127.200.{number >> 8}.{number & 255}")
        kind, value, text = client.ask(login)
        client.close()
        if kind == 0x88:
            return True
        self.assertEqual((kind, value), (1, 1), text)
        self.assertIn(b"try again", text)
        time.sleep(0.1)
        return False

    def test_a_host_keeps_no_other_one_of_its_64_out(self):
        agent = self.agent_for_hosts_of_a_64(4)
        right, wrong = rpcap.login(b"eve", b"secret"), rpcap.login(b"eve", b"guess")
        self.assertEqual(self.neighbour("fd00::3").ask(right)[0], 0x88)
        silent = [self.neighbour("fd00::2") for _ in range(4)]
        for source in ("fd00::3", "fd00::4"):
            self.assertEqual(self.neighbour(source).ask(right)[0], 0x88, source)
        for client in silent:
            client.close()

        def guess():
            while not done.wait(0.2):
                try:
                    self.neighbour("fd00::2").ask(wrong)
                except (OSError, EOFError):
                    pass

        done = threading.Event()
        guesses = threading.Thread(target=guess)
        guesses.start()
        self.addCleanup(guesses.join)
        self.addCleanup(done.set)
        agent.endpoint.await_metrics(lambda metrics: metrics.sum(
            "podwire_logins_refused_total", reason="address_barred") > 5)
        for _ in range(5):
            # One that is known, and one that is new.
            for source in ("fd00::3", "fd00::1"):
                self.assertEqual(self.neighbour(source).ask(right)[0], 0x88, source)

    def test_a_64_that_pours_keeps_out_nobody_who_is_known(self):
        agent = self.agent_for_hosts_of_a_64(40)
        right, wrong = rpcap.login(b"eve", b"secret"), rpcap.login(b"eve", b"guess")
        self.assertEqual(self.neighbour("fd00::3").ask(right)[0], 0x88)
        for number in range(4, 41):
            try:
                self.neighbour(f"fd00::{number:x}").ask(wrong)
            except (OSError, EOFError):
                pass
        metrics = agent.endpoint.fresh_metrics()
        self.assertLessEqual(metrics.sum("podwire_logins_refused_total", reason="wrong"), 36)
        self.assertGreater(
            metrics.sum("podwire_logins_refused_total", reason="address_barred"), 0)
        self.assertEqual(self.neighbour("fd00::3").ask(right)[0], 0x88)

    def agent_for_hosts_of_a_64(self, count):
        """An agent with a user, and so many addresses of a /64 for clients."""
        ip_in(self.bed.node, "-b", "-", input="".join(
            f"addr add fd00::{number:x}/64 dev lo nodad\n" for number in range(1, count + 1)))
        return self.agent(listen=f"[fd00::1]:{PORT}", login=(
            "--password-file", self.password_file(("eve", "secret"))))

    def neighbour(self, source):
        control = socket_in(self.bed.node, socket.AF_INET6)
        self.addCleanup(control.close)
        control.settimeout(PATIENCE_SECONDS)
        control.bind((source, 0))
        control.connect(("fd00::1", PORT))
        return rpcap.Session(control)

    def test_clients_without_a_capture_make_room(self):
        agent = self.agent()
        idle = []
        for number in range(CLIENT_COUNT_MAX):
            idle.append(self.client())
            idle[-1].log_in()
        idle[0].start()
        self.assertEqual(self.client().ask(LOGIN)[:2], (1, 1))
        others = [self.client(source=f"127.0.0.{number}") for number in (6, 7)]
        for client, gone in zip(others, idle[1:]):
            client.log_in()
            kind, value, text = gone.answer()
            self.assertEqual((kind, value), (1, 1))
            self.assertIn(b"it captured nothing", text)
            self.assertEqual(gone.control.recv(1), b"")
        self.assertEqual(agent.endpoint.fresh_metrics().sum(
            "podwire_clients_evicted_total", reason="no_capture"), 2)
        self.check_gets_packets(idle[0])
        for client in (*others, *idle[3:]):
            self.assertEqual(client.ask(rpcap.start())[0], 0x84)
        kind, value, text = self.client(source="127.0.0.8").ask(LOGIN)
        self.assertEqual((kind, value), (1, 1))
        self.assertIn(str(CLIENT_COUNT_MAX).encode(), text)

    def test_who_has_not_logged_in_hides_nothing(self):
        # Anybody can connect; only a client that may capture is somewhere a feed goes to.
        self.agent(listen=str(PORT),
                   login=("--password-file", self.password_file(("eve", "secret"))))
        client = self.client()
        self.assertEqual(client.ask(rpcap.login(b"eve", b"secret"))[0], 0x88)
        client.ask(rpcap.open_device(b"any-eth"))
        client.start()
        pod = socket_in(self.bed.pod)
        self.addCleanup(pod.close)
        pod.settimeout(PATIENCE_SECONDS)
        pod.connect((GATEWAY, PORT))
        self.check_gets_packets(client)
        pod.sendall(rpcap.login(b"eve", b"secret"))
        self.assertEqual(pod.recv(2), b"\x00\x88")
        wait_until(lambda: self.bed.pings_seen(client) == 0, "the feed's way is shown")
        pod.close()
        wait_until(lambda: self.bed.pings_seen(client) == 6, "what is no feed any more is hidden")

    def test_many_requests_at_once_are_answered_at_once(self):
        self.agent()
        client = self.client()
        client.ask(LOGIN)
        begin = time.monotonic()
        threading.Thread(target=client.control.sendall, args=(LIST * 2000,), daemon=True).start()
        for _ in range(2000):
            self.assertEqual(client.answer()[0], 0x82)
        self.assertLess(time.monotonic() - begin, PATIENCE_SECONDS / 2)

    def test_a_client_that_reads_no_answers_costs_nothing_and_goes(self):
        agent = self.agent()
        client = self.client()
        client.ask(LOGIN)
        client.control.settimeout(1)
        with self.assertRaises(OSError):
            while True:
                client.control.sendall(LIST * 1000)
        before = self.processor_seconds(agent)
        agent.await_text("the peer reads no answers")
        self.assertLess(self.processor_seconds(agent) - before, 1)

    def processor_seconds(self, agent):
        fields = pathlib.Path(f"/proc/{agent.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_clients_do_not_fill_the_log(self):
        agent = self.agent()
        client = self.capturing()
        for _ in range(5):
            client.control.sendall(rpcap.sampling(1, 5) * 1000)
            client.read(8 * 1000)
        for _ in range(500):
            self.client().close()
        self.assertEqual(client.ask(STATISTICS)[0], 0x89)
        self.assertLess(len(agent.text().splitlines()), 400)

    def test_who_may_dial(self):
        agent = self.agent(arguments=("--allow", "127.0.0.2,10.0.0.0/8"))
        self.client(source="127.0.0.2").log_in()
        kind, value, _ = self.client(source="127.0.0.3").answer()
        self.assertEqual((kind, value), (1, 10))
        agent.await_text("client refused")

    def test_data_connections_at_chosen_ports_and_from_the_client_alone(self):
        agent = self.agent(arguments=("--data-ports", "20000-20001"))
        clients = [self.client() for _ in range(3)]
        for client in clients:
            client.log_in()
        ports = [struct.unpack("!IHH", clients[index].ask(rpcap.start())[2])[1]
                 for index in range(2)]
        self.assertEqual(ports, [20000, 20001])
        kind, value, text = clients[2].ask(rpcap.start())
        self.assertEqual((kind, value), (1, 12))
        self.assertEqual(text, b"all ports of --data-ports are in use")
        # A stranger is sent away; what has been captured in the meantime waits for the client.
        stranger = clients[0].socket()
        stranger.bind(("127.0.0.9", 0))
        stranger.connect(("127.0.0.1", ports[0]))
        self.assertEqual(stranger.recv(1), b"")
        stranger.close()
        self.bed.ping()
        self.assertEqual(clients[0].ask(STATISTICS)[0], 0x89, "answers while it waits")
        clients[0].connect_data(ports[0])
        self.assertEqual(len(pings(clients[0].frames_until(Mark(self.bed)))), 6)
        # The second one never connects.
        agent.await_text("no data connection")
        self.check_lost_its_capture(clients[1], "the client opened no data connection within 10 s")
        clients[1].start()
        self.check_gets_packets(clients[1])

    def check_lost_its_capture(self, client, reason):
        """The session goes on, and says why the capture has ended."""
        kind, value, text = client.ask(rpcap.update(KEEP_UDP))
        self.assertEqual((kind, value, text.decode()), (1, 7, f"the capture has ended: {reason}"))
        self.assertEqual(client.ask(STATISTICS)[0], 0x89)
        self.assertEqual(client.ask(END)[0], 0x8A)

    def test_a_data_connection_without_tls_ends_the_capture_and_not_the_session(self):
        agent, context = self.tls_agent()
        client = self.client()
        client.control = context.wrap_socket(client.control, server_hostname="127.0.0.1")
        client.log_in()
        listener = listener_in(self.bed.node, "127.0.0.1", 0)
        self.addCleanup(listener.close)
        port = listener.getsockname()[1]
        # One that speaks something else, and one that says nothing.
        for said, reason in ((b"no TLS here" * 10, "the data connection failed: "),
                             (b"", "the client did not finish the TLS handshake of the data "
                                   "connection within 10 s")):
            count = agent.text().count("capture ended")
            self.assertEqual(client.ask(rpcap.start(port, SERVER_OPENS))[0], 0x84)
            data = listener.accept()[0]
            data.sendall(said)
            agent.await_text("capture ended", count + 1)
            kind, value, text = client.ask(rpcap.update(KEEP_UDP))
            self.assertEqual((kind, value), (1, 7))
            self.assertIn(reason, text.decode())
            self.assertEqual(client.ask(END)[0], 0x8A)
            data.close()
        client.start()
        client.data = context.wrap_socket(client.data, server_hostname="127.0.0.1")
        self.check_gets_packets(client)
        self.assertNotIn("session ended", agent.text())

    def test_the_kernel_watches_both_connections(self):
        self.agent()
        self.capturing()
        own = []

        def are_watched():
            own[:] = [line for line in run_in(
                self.bed.node, "ss", "-Htnpo", "state", "established").stdout.splitlines()
                if "podwire" in line]
            # What has just been sent has another timer until it is acknowledged.
            return len(own) == 2 and all("timer:(keepalive" in line for line in own)

        wait_until(are_watched, lambda: "\n".join(own))

    def test_a_client_that_ends_its_own_stream_still_gets_packets(self):
        for name in ("plain", "tls"):
            with self.subTest(name):
                agent, context = self.tls_agent() if name == "tls" else (self.agent(), None)
                client = self.client()
                if context:
                    client.control = context.wrap_socket(
                        client.control, server_hostname="127.0.0.1")
                client.log_in()
                client.start()
                if context:
                    client.data = context.wrap_socket(client.data, server_hostname="127.0.0.1")
                # It never writes there; over TLS this ends the stream without a word of TLS.
                socket.socket.shutdown(client.data, socket.SHUT_WR)
                self.check_gets_packets(client)
                before = self.processor_seconds(agent)
                time.sleep(1)
                self.assertLess(self.processor_seconds(agent) - before, 0.3)
                self.check_gets_packets(client)
                self.assertEqual(client.ask(END)[0], 0x8A)
                client.close()
                agent.stop()

    def test_a_closed_data_connection_ends_the_capture_and_not_the_session(self):
        agent = self.agent()
        client = self.client()
        client.log_in()
        reason = "the client has closed the data connection"
        # With a reset, and with an end that the next packet finds out to be a close.
        for abrupt in (1, 0):
            client.start()
            self.check_gets_packets(client)
            _, _, sent = client.settled_statistics()
            client.data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", abrupt, 0))
            client.data.close()
            count = agent.text().count(reason)

            def has_ended():
                self.bed.ping()
                # Whether it is asked before or after the session has noticed, the text is the same.
                # The filter lets pings pass, since it takes one to find out.
                kind, value, text = client.ask(rpcap.update(KEEP_ALL))
                if kind == 0x85:
                    return False
                self.assertEqual((kind, value, text.decode()),
                                 (1, 7, f"the capture has ended: {reason}"))
                return True

            wait_until(has_ended, "the capture goes on")
            agent.await_text(reason, count + 1)
            self.assertGreaterEqual(client.statistics()[2], sent)
            self.assertEqual(client.ask(LIST)[0], 0x82)
            self.assertEqual(client.ask(END)[0], 0x8A)
            self.assertEqual(client.ask(END)[:2], (1, 13))
        client.start()
        self.check_gets_packets(client)
        self.assertNotIn("session ended", agent.text())
        self.assertNotIn("timed out", agent.text())

    # Logins

    def password_file(self, *users):
        file = f"{self.folder.name}/users"
        for user, password in users:
            run(PODWIRE, "password", user, "--file", file, input=password + "\n")
        return file

    def test_passwords(self):
        self.agent(listen=str(PORT),
                   login=("--password-file", self.password_file(("eve", "secret"))))
        client = self.client()
        self.assertEqual(client.ask(LOGIN)[:2], (1, 18))
        for guess in ((b"eve", b"Secret"), (b"adam", b"secret")):
            begin = time.monotonic()
            self.assertEqual(client.ask(rpcap.login(*guess))[:2], (1, 18))
        self.assertEqual(client.ask(rpcap.login(b"eve", b"secret"))[0], 0x88)
        self.assertGreater(time.monotonic() - begin, 0.9, "a pause after a wrong one")
        self.assertEqual(client.ask(LIST)[0], 0x82)
        client = self.client()
        for _ in range(3):
            self.assertEqual(client.ask(rpcap.login(b"eve", b"guess"))[:2], (1, 18))
        self.assertEqual(client.control.recv(1), b"", "three are enough")

    def test_guesses_are_slow_over_all_connections(self):
        agent = self.agent(login=("--password-file", self.password_file(("eve", "secret"))))
        guess, right = rpcap.login(b"eve", b"guess"), rpcap.login(b"eve", b"secret")
        wrong, untried = ("wrong name or password",
                          "login refused untried: too many wrong logins from there")

        def are_refused_at_once():
            """Tries one password, and then more while nothing from here is looked at: a second at
            first, and after more wrong ones longer, as a busy machine needs it."""
            before, begin = agent.text(), time.monotonic()
            self.assertFalse(self.can_log_in(guess))
            wait_until(lambda: agent.text().count(wrong) + agent.text().count(untried)
                       > before.count(wrong) + before.count(untried), agent.text)
            tries = agent.text().count(wrong)
            if tries == before.count(wrong):
                return False
            end = begin + (1 << max(0, tries - 3))
            if end - time.monotonic() < 0.5:
                return False
            # Even the right one is refused, and told that it was not looked at.
            for login in (guess, guess, right):
                kind, value, text = self.client().ask(login)
                self.assertEqual(kind, 1)
                if time.monotonic() < end:
                    self.assertEqual(value, 1, text)
                    self.assertRegex(text, rb"was not tried: .* try again in \d+ s$")
            if time.monotonic() > end:
                return False
            agent.await_text(untried, before.count(untried) + 3)
            self.assertEqual(agent.text().count(wrong), tries)
            return True

        wait_until(are_refused_at_once, "the machine is too slow", interval=0.2)
        self.assertTrue(self.can_log_in(right, "127.0.0.2"))
        wait_until(lambda: self.can_log_in(right), "nothing is looked at any more", interval=0.5)

    def can_log_in(self, login, source="127.0.0.1"):
        client = self.client(source=source)
        try:
            return client.ask(login)[0] == 0x88
        finally:
            client.close()

    def test_a_new_user_can_log_in_at_once(self):
        file = self.password_file(("eve", "secret"))
        self.agent(login=("--password-file", file))
        self.password_file(("adam", "apple"))
        self.assertEqual(self.client().ask(rpcap.login(b"adam", b"apple"))[0], 0x88)
        self.assertEqual(self.client().ask(rpcap.login(b"eve", b"secret"))[0], 0x88)

    def test_listening_without_care_is_refused(self):
        for words, expected in {
                ("--listen", "2002"): "nobody could log in",
                ("--listen", "2002", "--allow-null-login"): "anybody could capture",
                ("--listen", "192.0.2.1:2002", "--allow-null-login"): "anybody could capture",
                ("--listen", "2002", "--allow-null-login", "--allow", "0.0.0.0/0"):
                    "anybody could capture",
                ("--listen", "nowhere:2002", "--allow-null-login"): "cannot be understood",
                ("--listen", "2002", "--password-file", "/nowhere"): "/nowhere",
                ("--listen", "127.0.0.1:2002", "--allow-null-login", "--data-ports", "9-8"):
                    "cannot be understood",
                ("--listen", "127.0.0.1:2002", "--allow-null-login", "--tls-key", "/k"):
                    "--tls-certificate",
        }.items():
            with self.subTest(" ".join(words)):
                done = run(PODWIRE, "agent", "--pod-network", "10.244.0.0/16", *words, check=False)
                self.assertEqual(done.returncode, 64, done.stderr)
                self.assertIn(expected, done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    # Devices

    def test_an_edge_by_its_name_shows_all_that_passes_there(self):
        # Between a1 and a2, which are both here, each packet is reported at one of their edges.
        self.agent()
        edge, stream = self.capturing(b"veth-pod"), self.capturing()
        self.check_gets_packets(edge)
        self.assertEqual(len(pings(stream.frames_until(Mark(self.bed)))), 6)

    def test_an_edge_that_goes_ends_its_capture_and_no_other(self):
        agent = self.agent()
        edge, stream = self.capturing(b"veth-pod"), self.capturing()
        self.bed.ping()
        ip_in(self.bed.node, "link", "del", "veth-pod")
        agent.await_text("is gone")
        self.assertEqual(len(pings(edge.frames_to_the_end())), 6)
        self.assertEqual(stream.ask(STATISTICS)[0], 0x89)
        late = self.client()
        late.ask(LOGIN)
        self.assertEqual(late.ask(rpcap.open_device(b"veth-pod"))[:2], (1, 6))

    def test_a_list_of_500_edges_is_short(self):
        # Each has its other end in the pod's namespace.
        commands = "".join(
            f"link add veth{number:08x} type veth peer name p{number} netns {self.bed.pod}\n"
            for number in range(500))
        ip_in(self.bed.node, "-b", "-", input=commands)
        self.agent()
        client = self.client()
        client.ask(LOGIN)
        kind, count, payload = client.ask(LIST)
        self.assertEqual((kind, count), (0x82, 502))
        self.assertLess(len(payload), 60_000)
        self.assertEqual(len(rpcap.devices(count, payload)), 502)

    # Sampling, cutting, large frames

    def test_sampling(self):
        self.agent()
        client = self.client()
        client.log_in()
        self.assertEqual(client.ask(rpcap.sampling(1, 5))[0], 0x8B)
        client.start()
        self.bed.ping(10)
        # Other frames count, too, and may be those that are taken.
        self.assertIn(len(pings(client.frames_until(Mark(self.bed)))), range(3, 6))
        # What libpcap's client sends, whatever it was asked for.
        self.assertEqual(client.ask(rpcap.sampling(1, 0))[0], 0x8B)
        self.check_gets_packets(client)
        self.assertEqual(client.ask(rpcap.sampling(2, 60_000))[0], 0x8B)
        before = client.statistics()
        self.bed.ping(10)
        wait_until(lambda: client.statistics()[0] >= before[0] + 20, "pings are not received")
        received, _, sent = client.statistics()
        self.assertLessEqual(sent - before[2], 1)
        self.assertGreater(received, sent, "what is sampled out has passed the filter")

    def test_snaplen_is_the_least_of_three(self):
        self.agent(arguments=("--snaplen", "80"))
        for snaplen, keep, expected in ((60, 262144, 60), (262144, 50, 50), (0, 262144, 80)):
            client = self.capturing(snaplen=snaplen,
                                    instructions=struct.pack("!HBBI", 6, 0, 0, keep))
            self.bed.ping()
            self.assertEqual([len(frame) for frame in self.pings_to(client)], [expected] * 6)

    def test_frames_of_more_than_64_kib_arrive_whole(self):
        for name, device in ((self.bed.node, "veth-pod"), (self.bed.pod, "eth0")):
            ip_in(name, "link", "set", device, "mtu", "65535")
        self.agent()
        client = self.capturing()
        self.bed.ping(size=65507)
        self.assertEqual([len(frame) for frame in self.pings_to(client)], [65549] * 6)

    def pings_to(self, client):
        """The pings that have come to a client."""
        return pings(client.frames_until(Mark(self.bed)))

    def raw_frames_of_the_pod(self):
        """A socket that sends frames from the pod, and the addresses that such a frame begins with."""
        raw = self.bed.raw_socket()
        self.addCleanup(raw.close)
        return raw, self.bed.macs()[0] + bytes.fromhex("020000000001")

    def test_vlan_tags_are_where_a_filter_looks_for_them(self):
        agent = self.agent()
        # EtherType 802.1Q and ICMP behind it, as for "vlan and icmp"; and plain IPv4.
        steps = ((0x28, 0, 0, 12), (0x15, 0, 3, 0x8100), (0x30, 0, 0, 27), (0x15, 0, 1, 1),
                 (0x06, 0, 0, 262144), (0x06, 0, 0, 0))
        tagged = b"".join(struct.pack("!HBBI", *step) for step in steps)
        plain = b"".join(struct.pack("!HBBI", *step) for step in (
            (0x28, 0, 0, 12), (0x15, 0, 1, 0x0800), (0x06, 0, 0, 262144), (0x06, 0, 0, 0)))
        clients = [self.capturing(device, instructions=filter)
                   for device in (b"any-eth", b"veth-pod") for filter in (tagged, plain)]
        # The kernel takes the tag out of what it receives, whoever has put it in. The last one shows
        # that all have come.
        raw, addresses = self.raw_frames_of_the_pod()
        for identification in (1, 1, 1, 2):
            packet = frames.ipv4(POD, "10.9.9.1", frames.ICMP, bytes(8), 64, identification)
            raw.send(addresses + bytes.fromhex("81000005" "0800") + packet)
        for client in clients[::2]:
            found = [client.frame() for _ in range(4)]
            self.assertEqual([frame.data[12:16] for frame in found], [b"\x81\x00\x00\x05"] * 4)
            self.assertEqual([(frame.vlans, frame.identification) for frame in found],
                             [([5], 1)] * 3 + [([5], 2)])
        for client in clients[1::2]:
            self.assertEqual([frame for frame in client.frames_until(UDPMark(self.bed))
                              if frame.vlans], [])
        self.assertEqual(clients[0].ask(END)[0], 0x8A)
        agent.await_text("tags_restored=4")

    def test_a_pod_that_makes_much_of_little_ends_nothing(self):
        agent = self.agent(PODWIRE_QUEUE_MEMORY="1MiB", PODWIRE_RING_MEMORY="4MiB")
        client = self.capturing()
        # Super-frames to be cut into 938 segments and into 7,500, and plain packets between them. The
        # client reads nothing until all has happened.
        raw, addresses = self.raw_frames_of_the_pod()
        SOL_PACKET, PACKET_VNET_HDR, payload = 263, 15, bytes(60000)
        raw.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        ethernet = addresses + bytes.fromhex("0800")
        tcp = struct.pack("!HHIIBBHHH", 5000, 9, 1, 1, 0x50, 0x10, 1000, 0, 0) + payload
        packet = frames.ipv4(POD, GATEWAY, frames.TCP, tcp, identification=1)
        many, too_many = (struct.pack("=BBHHHH", 1, 1, 54, size, 34, 16) + ethernet + packet
                          for size in (64, 8))
        small = struct.pack("=BBHHHH", 0, 0, 0, 0, 0, 0) + ethernet + bytes(1400)
        for _ in range(100):
            raw.send(many)
            raw.send(too_many)
            for _ in range(5):
                raw.send(small)
        # Those that are forwarded are far more than the queue and the connection have room for.
        agent.endpoint.await_metrics(
            lambda metrics: metrics.sum("podwire_frames_unrepaired_total") > 0)
        threading.Thread(target=self.drain, args=(client.data,), daemon=True).start()
        self.assertEqual(client.ask(STATISTICS)[0], 0x89)
        self.assertEqual(client.ask(END)[0], 0x8A)
        agent.await_text("capture ended")
        counts = agent.counts()
        self.assertGreater(counts["segmented"], 0)
        self.assertGreater(counts["unrepaired_segment_count"], 0)

    def test_a_filter_that_keeps_different_amounts(self):
        self.agent()
        # 60 bytes of what comes from the pod, 50 of the rest: so it cannot be told beforehand.
        steps = ((0x20, 0, 0, 26), (0x15, 0, 1, 0x0AF40102), (0x06, 0, 0, 60), (0x06, 0, 0, 50))
        client = self.capturing(
            instructions=b"".join(struct.pack("!HBBI", *step) for step in steps))
        self.bed.ping()
        self.assertEqual([len(frame) for frame in self.pings_to(client)], [60, 50] * 3)

    def test_control_answers_soon_in_a_flood(self):
        self.agent()
        client = self.capturing()
        threading.Thread(target=self.drain, args=(client.data,), daemon=True).start()
        # Each call makes 32 packets, which the veth is not to carry as one.
        ip_in(self.bed.pod, "link", "set", "eth0", "gso_max_segs", "1")
        flood = subprocess.Popen(python_in(self.bed.pod, FLOOD))
        self.addCleanup(flood.wait)
        self.addCleanup(flood.kill)
        wait_until(lambda: client.statistics()[0] > 100_000, "there is no flood")
        before = client.statistics()
        begin, times = time.monotonic(), []
        for _ in range(20):
            asked = time.monotonic()
            self.assertEqual(client.ask(STATISTICS)[0], 0x89)
            times.append(time.monotonic() - asked)
            time.sleep(0.1)
        after = client.statistics()
        rate = (after[0] - before[0]) / (time.monotonic() - begin)
        print(f"{rate:.0f} packets/s, {max(times) * 1000:.0f} ms at most ", end="", flush=True)
        # The flood does not end, so an answer that waited for it would never come.
        self.assertEqual(client.ask(rpcap.update(KEEP_UDP))[0], 0x85)

    def drain(self, data):
        data.settimeout(None)
        try:
            while data.recv(1 << 20):
                pass
        except OSError:
            pass

    # Data over UDP

    def datagrams(self, client, frames_of):
        """The datagrams that come up to the one with a mark, which is sent now. `frames_of` says of a
        datagram which frames it brings."""
        def read():
            datagram = client.data.recv(65536)
            return datagram, frames_of(datagram)

        return client.read_until(Mark(self.bed), read)

    @staticmethod
    def plain_frames(data):
        return [Frame(data[28:])]

    def test_udp_has_a_packet_in_each_datagram(self):
        self.agent()
        client = self.client()
        client.log_in()
        client.start_udp()
        self.bed.ping()
        datagrams = self.datagrams(client, self.plain_frames)
        for number, data in enumerate(datagrams, 1):
            _, kind, _, count, _, _, captured, _, npkt = struct.unpack("!BBHIIIIII", data[:28])
            self.assertEqual((kind, count, captured, npkt),
                             (7, len(data) - 8, len(data) - 28, number))
        self.assertEqual(len(pings(Frame(data[28:]) for data in datagrams)), 6)
        self.assertEqual(client.ask(END)[0], 0x8A)

    def test_udp_goes_on_where_nobody_listens(self):
        agent = self.agent()
        client = self.client()
        client.log_in()
        client.start_udp()
        port = client.data.getsockname()[1]
        client.data.close()

        def is_refused():
            self.bed.ping()
            return agent.endpoint.metrics().sum("podwire_datagrams_refused_total") > 0

        wait_until(is_refused, "no datagram is refused")
        client.data = client.socket(socket.SOCK_DGRAM)
        client.data.bind(("127.0.0.1", port))
        self.datagrams(client, self.plain_frames)
        self.bed.ping()
        datagrams = self.datagrams(client, self.plain_frames)
        self.assertEqual(len(pings(Frame(data[28:]) for data in datagrams)), 6)
        self.assertEqual(client.ask(END)[0], 0x8A)
        agent.await_text("capture ended")
        self.assertRegex(agent.text(), "datagrams_refused=[1-9]")

    def test_udpstr_where_it_is_set(self):
        self.agent(arguments=("--udp-format", "udpstr"))
        client = self.client()
        client.log_in()
        client.start_udp()
        self.bed.ping(20)
        stream, found = bytearray(), []

        def take_frames(data):
            """The frames that a datagram completes."""
            stream.extend(data[8:])
            new = []
            while len(stream) >= 20:
                end = 20 + struct.unpack_from("!I", stream, 8)[0]
                if len(stream) < end:
                    break
                new.append(Frame(stream[20:end]))
                del stream[:end]
            found.extend(new)
            return new

        datagrams = self.datagrams(client, take_frames)
        for number, data in enumerate(datagrams):
            self.assertEqual(struct.unpack("!BBHI", data[:8])[:2], (0, 110))
            self.assertEqual(struct.unpack("!BBHI", data[:8])[3], number)
        self.assertEqual(len(pings(found)), 40)
        self.assertLess(len(datagrams), 20, "several packets share a datagram")
        self.assertTrue(all(len(data) <= 1472 for data in datagrams))

    # TLS

    def certificate(self, name="podwire"):
        """A certificate for 127.0.0.1 and its key, as files."""
        certificate, key = f"{self.folder.name}/tls.crt", f"{self.folder.name}/tls.key"
        make_certificate(key, certificate, "-addext", "subjectAltName=IP:127.0.0.1", name=name)
        return certificate, key

    def tls_agent(self, **keywords):
        certificate, key = self.certificate()
        agent = self.agent(arguments=("--tls-certificate", certificate, "--tls-key", key),
                           **keywords)
        return agent, ssl.create_default_context(cafile=certificate)

    def test_tls_on_both_connections(self):
        agent, context = self.tls_agent()
        client = self.client()
        client.control = context.wrap_socket(client.control, server_hostname="127.0.0.1")
        client.log_in()
        kind, value, text = client.ask(rpcap.start(9, UDP))
        self.assertEqual((kind, value), (1, 12))
        self.assertIn(b"TLS", text)
        for _ in range(2):
            client.start()
            client.data = context.wrap_socket(client.data, server_hostname="127.0.0.1")
            self.check_gets_packets(client)
            self.assertEqual(client.ask(END)[0], 0x8A)
            client.frames_to_the_end()
        self.assertEqual(agent.stop()[0], 0, agent.text())

    def test_a_peer_without_tls_is_told(self):
        agent, _ = self.tls_agent()
        client = self.client()
        self.assertEqual(client.ask(LOGIN)[:2], (1, 19))
        self.assertEqual(client.control.recv(1), b"")
        agent.await_text("does not speak TLS")

    def test_a_tls_client_that_is_refused_learns_why(self):
        certificate, key = self.certificate()
        self.agent(arguments=("--tls-certificate", certificate, "--tls-key", key,
                              "--allow", "192.0.2.0/24"))
        done = run_in(self.bed.node, PODWIRE, "collect", "--list", "--from", "rpcaps://127.0.0.1",
                      "--tls-ca", certificate, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("this address is not in the allow list (error 10)", done.stderr)

    def test_tls_with_clients_alone_leaves_sensors_as_they_are(self):
        listener = self.bed.listen()
        self.addCleanup(listener.close)
        certificate, key = self.certificate()
        agent = Agent(self.bed, arguments=(
            "--listen", f"127.0.0.1:{PORT}", "--allow-null-login", "--tls-peers", "clients",
            "--tls-certificate", certificate, "--tls-key", key))
        self.addCleanup(agent.kill)
        sensor = rpcap.Session(listener.accept()[0])
        self.addCleanup(sensor.close)
        self.assertEqual(sensor.ask(LOGIN), (0x88, 0, b""))
        self.assertEqual(self.client().ask(LOGIN)[:2], (1, 19))

    def test_tls_where_there_is_none_gets_an_alert(self):
        self.agent()
        client = self.client()
        with self.assertRaises(ssl.SSLError):
            ssl.create_default_context().wrap_socket(client.control, server_hostname="127.0.0.1")

    def test_a_new_certificate_is_used_at_once(self):
        agent, context = self.tls_agent()
        old = self.client()
        old.control = context.wrap_socket(old.control, server_hostname="127.0.0.1")
        certificate, _ = self.certificate("renewed")
        context = ssl.create_default_context(cafile=certificate)
        new = self.client()
        new.control = context.wrap_socket(new.control, server_hostname="127.0.0.1")
        self.assertIn((("commonName", "renewed"),), new.control.getpeercert()["subject"])
        for client in (old, new):
            client.log_in()
        agent.await_text("read again")

    # The collector

    def collect(self, *arguments):
        collector = Program(self.bed.node, "collect", "--output", f"{self.folder.name}/got.pcapng",
                            *arguments)
        self.addCleanup(collector.kill)
        return collector

    def check_collects(self, collector):
        collector.await_text("capture started")
        self.bed.ping()
        mark, file = Mark(self.bed), pathlib.Path(f"{self.folder.name}/got.pcapng")

        def has_come():
            mark.send()
            return mark.number in file.read_bytes()

        wait_until(has_come, collector.text, interval=0.5)
        self.assertEqual(collector.stop(), 0, collector.text())
        found = run("tshark", "-r", file, "-Y", "icmp")
        self.assertEqual(len(found.stdout.splitlines()), 6, collector.text())

    def test_the_collector_dials(self):
        self.agent(login=("--password-file", self.password_file(("eve", "s:crét"))))
        for extra in ((), ("--udp",)):
            self.check_collects(self.collect(
                "--from", f"rpcap://eve:s%3acr%c3%a9t@127.0.0.1:{PORT}/veth-pod", *extra))

    def test_the_collector_dials_over_tls(self):
        self.tls_agent()
        ca = f"{self.folder.name}/tls.crt"
        url = f"rpcaps://127.0.0.1:{PORT}"
        self.check_collects(self.collect("--from", url, "--tls-ca", ca))
        self.check_collects(self.collect("--from", url, "--tls-insecure"))
        stranger = self.collect("--from", url)
        stranger.await_text("not trusted")
        named = run_in(self.bed.node, PODWIRE, "collect", "--list", "--from", url, "--tls-ca", ca)
        self.assertIn("veth-pod", named.stdout)

    def test_an_agent_dials_a_collector_over_tls(self):
        certificate, key = self.certificate()
        collector = self.collect("--listen", "127.0.0.1:2003", "--tls", "--tls-ca", certificate)
        collector.await_text("listening")
        agent = Agent(self.bed, arguments=("--tls-certificate", certificate, "--tls-key", key))
        self.addCleanup(agent.kill)
        self.check_collects(collector)

    # What others make of it

    def check_dissected(self, udp):
        with Recording(self.bed.node) as recording:
            self.agent()
            client = self.client()
            client.log_in()
            self.assertEqual(client.ask(LIST)[0], 0x82)
            self.assertEqual(client.ask(rpcap.sampling(1, 0))[0], 0x8B)
            client.start_udp() if udp else client.start()
            self.bed.ping()
            # Some have to be passed on before another filter could leave all of them out.
            client.data.settimeout(PATIENCE_SECONDS)
            client.data.recv(1 << 16)
            self.assertEqual(client.ask(rpcap.update(KEEP_UDP))[0], 0x85)
            self.assertEqual(client.ask(STATISTICS)[0], 0x89)
            self.assertEqual(client.ask(END)[0], 0x8A)
            self.assertEqual(client.ask(END)[:2], (1, 13))
            client.control.sendall(CLOSE)
        recording.check(self, 8, 136, 2, 130, 3, 131, 4, 132, 5, 133, 11, 139, 9, 137, 10, 138, 1,
                        6, 7)

    def test_wireshark_understands_a_session_over_tcp(self):
        self.check_dissected(udp=False)

    def test_wireshark_understands_a_session_over_udp(self):
        self.check_dissected(udp=True)


if __name__ == "__main__":
    unittest.main()
