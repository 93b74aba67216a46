"""Figures from several rounds, and what they are held against."""

import statistics

from . import services


class Figure:
    """What several rounds have measured: its median, and how far it went."""

    def __init__(self, values):
        self.values = list(values)

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def spread(self):
        return min(self.values), max(self.values)

    def over(self, other):
        """How many times another figure this is. Round by round: both met the same noise."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.values, other.values))

    def as_json(self):
        return {"median": self.median, "min": min(self.values), "max": max(self.values),
                "rounds": self.values}


class Figures:
    """All figures of a run, by measure and contestant."""

    def __init__(self):
        self.table = {}

    def add(self, measure, contestant, value):
        self.table.setdefault(measure, {}).setdefault(contestant, Figure([])).values.append(value)

    def get(self, measure, contestant):
        return self.table.get(measure, {}).get(contestant)

    def as_json(self):
        return {measure: {name: figure.as_json() for name, figure in row.items()}
                for measure, row in self.table.items()}


class Bound:
    """A promise: what is measured, and at most (or at least) how much it may be."""

    def __init__(self, text, value, limit, unit="x", at_least=False):
        self.text, self.value, self.limit = text, value, limit
        self.unit, self.at_least = unit, at_least

    @property
    def is_kept(self):
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def as_json(self):
        return {"text": self.text, "measured": self.value, "bound": self.limit, "unit": self.unit,
                "at_least": self.at_least, "kept": self.is_kept}


def bounds(figures):
    """What can be said about each promise, from what was measured."""
    found = []

    def ratio(text, measure, over, limit, at_least=False):
        mine, theirs = figures.get(measure, "podwire"), figures.get(measure, over)
        if mine and theirs:
            value = theirs.over(mine) if at_least else mine.over(theirs)
            found.append(Bound(text, value, limit, at_least=at_least))

    def most(text, measure, limit, unit, scale=1.0, contestant="podwire"):
        figure = figures.get(measure, contestant)
        if figure:
            found.append(Bound(text, figure.median * scale, limit, unit))

    def above(text, measure, base, limit, unit, name="podwire"):
        mine, theirs = figures.get(measure, name), figures.get(measure, base)
        if mine and theirs:
            value = statistics.median(more - less for more, less in zip(mine.values, theirs.values))
            found.append(Bound(text, value, limit, unit))

    def among(text, measure, name, over, limit):
        mine, theirs = figures.get(measure, name), figures.get(measure, over)
        if mine and theirs:
            found.append(Bound(text, mine.over(theirs), limit))

    for size, over_floor, under_reference in ((60, 1.3, 12), (1514, 1.2, 2.5)):
        measure = f"cpu_{size}_ns"
        ratio(f"CPU per packet of {size:,} bytes, over the floor's", measure, "floor", over_floor)
        ratio(f"CPU per packet of {size:,} bytes, rpcapd's over ours", measure, "rpcapd",
              under_reference, at_least=True)
    ratio("CPU per segment of GSO packets, over the floor's", "gso_ns", "floor", 1.3)
    ratio("CPU per segment of iperf3, over rpcapd's", "cpu_tcp_ns", "rpcapd", 0.9)
    together, apart = (figures.get(f"many_{name}_ns", "podwire") for name in ("1", "250_200"))
    if together and apart:
        found.append(Bound("CPU per packet of 250 edges with 200/s, over one edge's with as much",
                           apart.over(together), 3.5))
    most("CPU per packet of 250 edges with 20/s", "many_250_20_ns", 8, "µs", 1e-3)
    above("timer interrupts a second with 250 idle edges, above none", "interrupts_per_s",
          "no agent", 1500, "/s")
    among("CPU of the process with three sensors, over one", "sensors_cpu_ns", "3", "1", 1.4)
    among("memory with rings with three sensors, over one", "sensors_memory_total_mib", "3", "1", 1.3)
    among("CPU of the collector per packet in order of time, over as they come", "collector_paced_ns",
          "in order of time", "as they come", 1.15)
    above("what pods pay at an edge that reports, 1,514 bytes", "pods_elsewhere_1514_ns", "no agent",
          540, "ns", name="reports")
    ratio("CPU of the whole node per packet of 300 bytes, the mirror's over ours", "node_300_ns",
          "mirror", 2.6, at_least=True)
    for size in (60, 1514):
        figure = figures.get(f"loss_{size}_1_share", "podwire")
        if figure:
            found.append(Bound(f"lost of {size:,} bytes from one core, worst round",
                               100 * max(figure.values), 0, "%"))
    base, silent, reporting = (figures.get("pods_elsewhere_60_ns", name)
                               for name in ("no agent", "does not report", "reports"))
    if base and silent and reporting:
        share = statistics.median(
            (no - none) / max(yes - none, 1e-9)
            for none, no, yes in zip(base.values, silent.values, reporting.values))
        found.append(Bound("what an edge that does not report costs, of one that does", share,
                           1 / 3))
    for text, measure in (("CPU for a new call to a service", f"services_{services.RATES[-1]}_ns"),
                          ("memory with new calls to services",
                           f"services_{services.RATES[-1]}_mib")):
        tables, tracking = (figures.get(measure, name) for name in ("cilium", "conntrack"))
        if tables and tracking:
            found.append(Bound(f"{text}, Cilium's tables over connection tracking",
                               tables.over(tracking), 1.1))
    most("CPU per packet of 300 bytes in a tunnel, flows that cannot be joined", "vxlan_mixed_ns", 600,
         "ns", contestant="podwire, VXLAN")
    among("CPU per packet of 300 bytes in a tunnel, one flow, over RPCAP's", "vxlan_one_ns",
          "podwire, VXLAN", "podwire", 2)
    most("delay, 99th percentile", "delay_99th_ms", 30, "ms")
    most("idle with one session, of a core", "idle_10_share", 0.5, "%", 100)
    return found
