"""What is measured of a whole node: many edges that say little, idle ones, several sensors, and all that
the kernel does for a contestant elsewhere."""

import time

from . import collecting, contestants, generator, network, processes
from .measures import PACED_PER_SECOND, SIZES, WARM_UP_SECONDS, Bench, Cost, loss_share

LIGHT_BYTES = 300
# Edges, and packets a second of each. The last one has as much in all as `TOGETHER`, by one edge.
LIGHT = ((network.FEW_COUNT, 100), (network.CROWD_COUNT, 20), (network.CROWD_COUNT, 200))
TOGETHER_PER_SECOND = LIGHT[-1][0] * LIGHT[-1][1]
SENSOR_COUNTS = (1, 2, 3)
# Of each of many edges, for several sensors.
SENSORS_PER_SECOND = 80
NOBODY = "no agent"


class NodeBench(Bench):
    def many(self):
        """CPU per packet of many edges that say little, and of one that says as much as all."""
        for count, rate in LIGHT:
            self.have_pods(count)
            for kind in self.turns(f"{count} edges with {rate}/s", self.plan.few_rounds):
                if kind.takes_all_edges:
                    self.many_round(kind, self.bed.pods[:count], rate, f"many_{count}_{rate}")
        for kind in self.turns(f"one edge with {TOGETHER_PER_SECOND:,}/s", self.plan.few_rounds):
            if kind.takes_all_edges:
                self.many_round(kind, self.bed.pods[:1], TOGETHER_PER_SECOND, "many_1")

    def many_round(self, kind, pods, rate, measure):
        with self.meet(kind, is_busy=False) as contestant:
            generator.murmur(self.bed, self.tools, pods, LIGHT_BYTES, WARM_UP_SECONDS, rate)
            before = self.bed.sent_by_all(pods), contestant.await_silence()["packets"]
            cost = Cost(contestant)
            generator.murmur(self.bed, self.tools, pods, LIGHT_BYTES, self.plan.seconds, rate)
            arrived = contestant.await_silence()["packets"]
            cost.note(self.figures, measure, arrived)
            self.figures.add(f"loss_{measure}_share", kind.name,
                             loss_share(before, (self.bed.sent_by_all(pods), arrived)))

    def interrupts(self):
        """How often timers interrupt a node with many idle edges, which no process is charged for."""
        self.have_pods(network.CROWD_COUNT)
        for _ in range(self.plan.few_rounds):
            self.say("timer interrupts without an agent")
            self.interrupts_round(NOBODY)
            for kind in self.kinds:
                if kind.takes_all_edges:
                    self.say(f"timer interrupts with {len(self.bed.pods)} idle edges: {kind.name}")
                    with self.meet(kind, is_busy=False):
                        time.sleep(self.plan.settle_seconds)
                        self.interrupts_round(kind.name)

    def interrupts_round(self, name):
        before, begin = processes.timer_interrupts(), time.monotonic()
        time.sleep(self.plan.idle_seconds)
        self.figures.add("interrupts_per_s", name,
                         (processes.timer_interrupts() - before) / (time.monotonic() - begin))

    def sensors(self):
        """What further sensors cost: CPU, memory, and what pods pay."""
        self.have_pods(network.CROWD_COUNT)
        agent, pods = self.kinds[0], self.bed.pods[:network.CROWD_COUNT]
        for index in range(self.plan.few_rounds):
            for count in SENSOR_COUNTS:
                self.say(f"{count} sensors, round {index + 1}")
                with self.meet(agent, is_busy=False, sensor_count=count) as contestant:
                    generator.murmur(self.bed, self.tools, pods, LIGHT_BYTES, WARM_UP_SECONDS,
                                     SENSORS_PER_SECOND)
                    contestant.await_silence()
                    sent_before = self.bed.sent_by_all(pods)
                    before = [drain.ask()["packets"] for drain in contestant.drains]
                    used = processes.cpu_ns(contestant.pid)
                    sent = generator.murmur(self.bed, self.tools, pods, LIGHT_BYTES,
                                            self.plan.seconds, SENSORS_PER_SECOND)
                    contestant.await_silence()
                    got = [drain.ask()["packets"] - then
                           for drain, then in zip(contestant.drains, before)]
                    name = str(count)
                    self.figures.add("sensors_cpu_ns", name,
                                     (processes.cpu_ns(contestant.pid) - used) / sent["packets"])
                    self.figures.add("sensors_loss_share", name, max(
                        0, 1 - min(got) / (self.bed.sent_by_all(pods) - sent_before)))
                    self.figures.add("sensors_sender_ns", name, sent["cpu_ns"] / sent["packets"])
                    for kind, byte_count in processes.memory(contestant.pid).items():
                        self.figures.add(f"sensors_memory_{kind}_mib", name,
                                         byte_count / (1 << 20))

    def collector(self):
        """What the collector costs, which is another command of the agent's program."""
        collecting.collector(self, self.contestants[self.kinds[0]])

    def node(self):
        """CPU of the whole node per packet: of the process, and what senders and softirqs have more to
        do than without any. The sensor's own is left out."""
        way = generator.Way(self.bed)
        for size in SIZES[1:]:
            for _ in range(self.plan.rounds):
                alone = self.sender_ns(way, size)
                for kind in (*self.kinds, *contestants.OTHERS):
                    self.say(f"whole node, {size:,} bytes at {PACED_PER_SECOND:,}/s: {kind.name}")
                    self.node_round(kind, way, size, alone)

    def node_round(self, kind, way, size, alone):
        contestant = kind(self.bed, self.tools, self.contestants.get(kind))
        with contestant:
            self.sender_ns(way, size)
            contestant.await_silence()
            used = processes.cpu_ns(contestant.pid)
            elsewhere = self.sender_ns(way, size) - alone
            contestant.await_silence()
            own = (processes.cpu_ns(contestant.pid) - used) / (
                PACED_PER_SECOND * self.plan.seconds)
        self.figures.add(f"node_{size}_process_ns", kind.name, own)
        self.figures.add(f"node_{size}_elsewhere_ns", kind.name, elsewhere)
        self.figures.add(f"node_{size}_ns", kind.name, own + elsewhere)

    def sender_ns(self, way, size):
        """CPU of the sender and its core's softirqs for each packet."""
        sent = generator.send(way, self.tools, size, self.plan.seconds, rate=PACED_PER_SECOND)
        return sent["cpu_ns"] / sent["packets"]
