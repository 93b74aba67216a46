"""What is measured, one function each. Contestants take turns, so that noise meets all of them."""

import random
import time

from . import generator, network, processes, services

SIZES = (60, 300, 1514)
# A TCP packet that its device is to segment: as many segments as an IPv4 packet can say.
GSO_BYTES, GSO_SEGMENTS = 65226, 45
# 4.2 Gbit/s of segments.
GSO_PER_SECOND = 8000
# Whose packets a tunnel hands over as one, and whose packets never.
FLOWS = ("one", "mixed")
SLOW_PER_SECOND, PACED_PER_SECOND = 200, 100_000
# Rings grow while it lasts.
WARM_UP_SECONDS = 0.5
TCP_HEADERS_BYTES = 66


class Plan:
    """How often, and how long."""

    def __init__(self, rounds, seconds, idle_seconds, settle_seconds):
        self.rounds, self.seconds, self.idle_seconds = rounds, seconds, idle_seconds
        # Until edges that say nothing count as idle.
        self.settle_seconds = settle_seconds

    @property
    def few_rounds(self):
        """For what varies little, or matters less."""
        return max(1, self.rounds // 2)


class Bench:
    def __init__(self, bed, tools, contestants, figures, plan, say):
        self.bed, self.tools, self.figures = bed, tools, figures
        self.plan, self.say = plan, say
        self.contestants = contestants
        self.measure = ""

    def run(self, measure):
        self.measure = measure
        getattr(self, measure)()

    @property
    def kinds(self):
        """Who takes part in what is measured now."""
        return [kind for kind in self.contestants
                if not kind.measures or self.measure in kind.measures]

    def meet(self, kind, **keywords):
        """A contestant, fresh: each round begins with small rings and an empty queue."""
        return kind(self.bed, self.tools, self.contestants[kind], **keywords)

    def have_pods(self, count):
        """Has at least so many pods, whose kernels have said what they say at first."""
        if count > len(self.bed.pods):
            self.say(f"making {count} edges")
            self.bed.grow(count)
            time.sleep(2)

    def turns(self, what, rounds=None):
        """Every contestant once a round, in an order that changes."""
        for index in range(rounds or self.plan.rounds):
            kinds = self.kinds
            random.Random(index).shuffle(kinds)
            for kind in kinds:
                self.say(f"{what}, round {index + 1}: {kind.name}")
                yield kind

    def cpu(self):
        """CPU per packet, and loss, at the full rate of one core."""
        way = generator.Way(self.bed)
        for size in SIZES:
            for kind in self.turns(f"{size:,} bytes at full speed"):
                self.cpu_round(kind, way, size)

    def cpu_round(self, kind, way, size):
        with self.meet(kind) as contestant:
            time.sleep(0.2)
            target, name = self.bed.pods[1], kind.name
            counts = [(self.bed.sent_to(target)[0], contestant.drain.ask()["packets"])]
            # From its first packet on, and then as it goes on.
            generator.send(way, self.tools, size, WARM_UP_SECONDS)
            arrived = contestant.await_silence()
            counts.append((self.bed.sent_to(target)[0], arrived["packets"]))
            cost = Cost(contestant)
            sent = generator.send(way, self.tools, size, self.plan.seconds)
            arrived = contestant.await_silence()
            cost.note(self.figures, f"cpu_{size}", arrived["packets"])
            counts.append((self.bed.sent_to(target)[0], arrived["packets"]))
            self.figures.add(f"loss_{size}_1_share", name, loss_share(counts[0], counts[2]))
            self.figures.add(f"warm_loss_{size}_1_share", name, loss_share(*counts[1:]))
            self.figures.add(f"rate_{size}_1_per_s", name,
                             sent["packets"] / sent["wall_ns"] * 1e9)
            self.check(arrived)
            if size == SIZES[0]:
                self.note_memory("loaded", contestant)

    def check(self, arrived):
        if arrived["strangers"] or arrived["ended"]:
            raise RuntimeError(f"the data connection ended, or carried something else: {arrived}")

    def vxlan(self):
        """CPU per packet in a tunnel, beside RPCAP: of one flow, and of flows that cannot be joined."""
        way, size = generator.Way(self.bed), SIZES[1]
        for flows in FLOWS:
            for kind in self.turns(f"{size:,} bytes of {flows} flows"):
                if kind.name.startswith("podwire"):
                    with self.meet(kind) as contestant:
                        time.sleep(0.2)
                        generator.send(way, self.tools, size, WARM_UP_SECONDS, rate=PACED_PER_SECOND,
                                       flows=flows)
                        before = contestant.await_silence()["packets"]
                        cost = Cost(contestant)
                        generator.send(way, self.tools, size, self.plan.seconds, flows=flows)
                        arrived = contestant.await_silence()["packets"]
                        cost.note(self.figures, f"vxlan_{flows}", arrived, before)

    def paced(self):
        """CPU per packet at a rate that every contestant can follow."""
        way = generator.Way(self.bed)
        for size in (SIZES[0], SIZES[-1]):
            for kind in self.turns(f"{size:,} bytes at {PACED_PER_SECOND:,}/s",
                                   self.plan.few_rounds):
                with self.meet(kind) as contestant:
                    time.sleep(0.2)
                    cost = Cost(contestant)
                    generator.send(way, self.tools, size, self.plan.seconds, rate=PACED_PER_SECOND)
                    arrived = contestant.await_silence()
                    cost.note(self.figures, f"paced_{size}", arrived["packets"])

    def tcp(self):
        """CPU per packet that a cable would have carried of iperf3's connection."""
        for kind in self.turns("iperf3"):
            with self.meet(kind) as contestant:
                time.sleep(0.2)
                generator.talk_tcp(self.bed, 1)
                contestant.await_silence()
                seen_before = self.payload_seen()
                before = contestant.drain.ask()
                cost = Cost(contestant)
                rate = generator.talk_tcp(self.bed, self.plan.seconds)
                arrived = contestant.await_silence()
                cost.note(self.figures, "cpu_tcp", arrived["wire_packets"],
                          before["wire_packets"])
                payload = sum(sign * (counts["wire_bytes"] - TCP_HEADERS_BYTES * counts["packets"])
                              for sign, counts in ((1, arrived), (-1, before)))
                self.figures.add("loss_tcp_share", kind.name,
                                 max(0, 1 - payload / (self.payload_seen() - seen_before)))
                self.figures.add("rate_tcp_gbit_per_s", kind.name, rate / 1e9)

    def gso(self):
        """CPU per segment of GSO packets at a rate that every contestant can follow."""
        way = generator.Way(self.bed)
        for kind in self.turns(f"GSO packets at {GSO_PER_SECOND:,}/s"):
            with self.meet(kind) as contestant:
                # Rings grow meanwhile.
                generator.send(way, self.tools, GSO_BYTES, WARM_UP_SECONDS, rate=GSO_PER_SECOND)
                before = contestant.await_silence()
                sent_before = self.bed.sent_to(self.bed.pods[1])[0]
                cost = Cost(contestant)
                generator.send(way, self.tools, GSO_BYTES, self.plan.seconds, rate=GSO_PER_SECOND)
                arrived = contestant.await_silence()
                cost.note(self.figures, "gso", arrived["wire_packets"], before["wire_packets"])
                segments = GSO_SEGMENTS * (self.bed.sent_to(self.bed.pods[1])[0] - sent_before)
                self.figures.add("loss_gso_share", kind.name, max(
                    0, 1 - (arrived["wire_packets"] - before["wire_packets"]) / segments))

    def payload_seen(self):
        """Bytes that TCP carried at the edge of `b`, both ways."""
        counts = (self.bed.sent_to(self.bed.pods[1]), self.bed.sent_by(self.bed.pods[1]))
        return sum(byte_count - TCP_HEADERS_BYTES * frames for frames, byte_count in counts)

    def loss(self):
        """Loss at the full rate of two cores."""
        way = generator.Way(self.bed)
        for size in SIZES:
            for kind in self.turns(f"{size:,} bytes from two cores", self.plan.few_rounds):
                with self.meet(kind) as contestant:
                    time.sleep(0.2)
                    before = self.bed.sent_to(self.bed.pods[1])[0], 0
                    sent = generator.send(way, self.tools, size, self.plan.seconds, core_count=2)
                    arrived = contestant.await_silence()
                    after = self.bed.sent_to(self.bed.pods[1])[0], arrived["packets"]
                    self.check(arrived)
                    self.figures.add(f"loss_{size}_2_share", kind.name, loss_share(before, after))
                    self.figures.add(f"rate_{size}_2_per_s", kind.name,
                                     sent["packets"] / sent["wall_ns"] * 1e9)

    def delay(self):
        """From the edge to the sensor, while there is little traffic."""
        way = generator.Way(self.bed)
        for kind in self.turns("delay", self.plan.few_rounds):
            with self.meet(kind) as contestant:
                time.sleep(0.5)
                contestant.drain.ask("forget")
                generator.send(way, self.tools, 300, self.plan.idle_seconds / 2,
                               rate=SLOW_PER_SECOND)
                arrived = contestant.await_silence()
                for share in ("median", "99th"):
                    self.figures.add(f"delay_{share}_ms", kind.name,
                                     arrived[f"delay_{share}_us"] / 1000)

    def pods(self):
        """What the pods pay: nanoseconds of the sender for each packet, taps included."""
        ways = {"reports": generator.Way(self.bed, to_elsewhere=True, reports_at_sender=True),
                "does not report": generator.Way(self.bed, to_elsewhere=True)}
        between = generator.Way(self.bed)
        agent = self.kinds[0]
        for index in range(self.plan.rounds):
            self.say(f"what pods pay, round {index + 1}")
            self.pods_round("pods_elsewhere", "no agent", ways["reports"])
            self.pods_round("pods_between", "no agent", between)
            with self.meet(agent) as contestant:
                for name, way in ways.items():
                    # The ring has grown, and nothing is left of the traffic before.
                    self.pods_round("pods_elsewhere", name, way)
                    contestant.await_silence()
                self.pods_round("pods_between", "agent", between)

    def pods_round(self, measure, name, way):
        for size in (SIZES[0], SIZES[-1]):
            generator.send(way, self.tools, size, WARM_UP_SECONDS)
            sent = generator.send(way, self.tools, size, self.plan.seconds / 2)
            self.figures.add(f"{measure}_{size}_ns", name, sent["cpu_ns"] / sent["packets"])
            self.figures.add(f"{measure}_{size}_per_s", name,
                             sent["packets"] / sent["wall_ns"] * 1e9)

    def services(self):
        """What a new call to a service costs: known from connection tracking, and from Cilium's tables."""
        agent = next(iter(self.contestants))
        services.prepare(self.bed)
        turn = 0
        with services.tables(self.tools) as pins:
            for rate in services.RATES:
                for index in range(self.plan.few_rounds):
                    for name, way, folder in (("conntrack", services.BY_KERNEL, "off"),
                                              ("cilium", services.BY_TABLES, pins)):
                        self.say(f"{rate:,} new calls to services a second, round {index + 1}: {name}")
                        services.translate(self.bed, way)
                        self.services_round(agent, turn, rate, name, folder)
                        turn += 1

    def services_round(self, agent, turn, rate, name, folder):
        warm_count = int(WARM_UP_SECONDS * rate)
        count = min(services.PORT_COUNT_MAX - warm_count, int(self.plan.seconds * rate))
        if name == "cilium":
            services.fill(self.bed, folder, turn, warm_count + count)
        with self.meet(agent, arguments=("--cilium-tables", folder)) as contestant:
            time.sleep(0.2)
            services.call(self.bed, turn, 0, warm_count, rate)
            before = contestant.await_silence()["packets"]
            cost = Cost(contestant)
            reached = services.call(self.bed, turn, warm_count, count, rate)
            arrived = contestant.await_silence()["packets"] - before
            cost.note(self.figures, f"services_{rate}", count, 0, name)
            self.figures.add(f"services_{rate}_reported", name, arrived / count)
            self.figures.add(f"services_{rate}_per_s", name, reached)
            self.figures.add(f"services_{rate}_mib", name,
                             processes.memory(contestant.pid)["anonymous"] / (1 << 20))

    def idle(self):
        """What one session costs while nothing happens, and its memory."""
        self.idle_at(network.POD_COUNT)

    def crowd(self):
        """The same with 250 edges, and how soon they are captured."""
        self.have_pods(network.CROWD_COUNT)
        self.idle_at(network.CROWD_COUNT)
        for kind in self.turns(f"start with {network.CROWD_COUNT} edges", self.plan.few_rounds):
            if kind.takes_all_edges:
                self.start_up(kind)

    def idle_at(self, edge_count):
        for kind in self.kinds:
            if edge_count > network.POD_COUNT and not kind.takes_all_edges:
                continue
            self.say(f"{edge_count} idle edges: {kind.name}")
            with self.meet(kind, is_busy=False) as contestant:
                time.sleep(2)
                before, begin = processes.cpu_ns(contestant.pid), time.monotonic_ns()
                time.sleep(self.plan.idle_seconds)
                used = processes.cpu_ns(contestant.pid) - before
                self.figures.add(f"idle_{edge_count}_share", kind.name,
                                 used / (time.monotonic_ns() - begin))
                self.note_memory(f"idle_{edge_count}", contestant)

    def start_up(self, kind):
        """From the program's start to the answer that it captures, and to a packet of the last
        edge, which has been sending all the time."""
        last = generator.Way(self.bed, to_elsewhere=True, sender=self.bed.pods[-1],
                             target=network.OUTSIDE_ADDRESS)
        senders = generator.begin(last, self.tools, 60, 60, rate=1000)
        try:
            with self.meet(kind, is_busy=False) as contestant:
                processes.await_true(lambda: contestant.drain.ask()["packets"] > 0,
                                     what="a packet of the last edge")
                arrived_ns = contestant.drain.ask()["first_arrival_ns"]
                for measure, moment_ns in (("start", contestant.started_ns),
                                           ("first_packet", arrived_ns)):
                    self.figures.add(f"{measure}_ms", kind.name,
                                     (moment_ns - contestant.launched_ns) / 1e6)
        finally:
            for sender in senders:
                sender.kill()
                sender.communicate()

    def note_memory(self, when, contestant):
        for name, byte_count in processes.memory(contestant.pid).items():
            self.figures.add(f"memory_{when}_{name}_mib", contestant.name, byte_count / (1 << 20))


def loss_share(before, after):
    """What has not arrived of what was sent, each a pair of both counts."""
    return max(0, 1 - (after[1] - before[1]) / (after[0] - before[0]))


class Cost:
    """What a contestant's process uses from here on."""

    def __init__(self, contestant):
        self.contestant = contestant
        self.packets = contestant.drain.ask()["packets"]
        self.ns = processes.cpu_ns(contestant.pid)
        self.ticks = processes.cpu_ticks(contestant.pid)

    def note(self, figures, measure, packets, packets_before=None, name=None):
        """Per packet that has arrived since; user and system by the share of ticks."""
        name, pid = name or self.contestant.name, self.contestant.pid
        since = self.packets if packets_before is None else packets_before
        each = (processes.cpu_ns(pid) - self.ns) / max(1, packets - since)
        user, system = (now - then for now, then in zip(processes.cpu_ticks(pid), self.ticks))
        figures.add(f"{measure}_ns", name, each)
        figures.add(f"{measure}_user_ns", name, each * user / max(1, user + system))
        figures.add(f"{measure}_system_ns", name, each * system / max(1, user + system))
