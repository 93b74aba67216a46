"""The report: tables for people, which Markdown shows as such, and a plot."""

import math
import pathlib
import subprocess

from . import collecting, network, services
from .measures import FLOWS, GSO_PER_SECOND, PACED_PER_SECOND, SIZES
from .node_measures import LIGHT, NOBODY, SENSORS_PER_SECOND, TOGETHER_PER_SECOND

# What is shown: a line's title, its measure, what to multiply by, digits after the point.
CPU = [(f"CPU per packet of {size:,} bytes, ns", f"cpu_{size}_ns", 1, 0) for size in SIZES] + [
    (f"CPU per packet of {size:,} bytes at {PACED_PER_SECOND:,}/s, ns", f"paced_{size}_ns", 1, 0)
    for size in (SIZES[0], SIZES[-1])] + [
    (f"CPU per segment of GSO packets at {GSO_PER_SECOND:,}/s, ns", "gso_ns", 1, 0),
    ("CPU per packet of iperf3 over TCP, ns", "cpu_tcp_ns", 1, 0)] + [
    (f"CPU per packet of {SIZES[1]:,} bytes, {flows} flows, ns", f"vxlan_{flows}_ns", 1, 0)
    for flows in FLOWS] + [
    (f"CPU per packet of {count} edges with {rate}/s, ns", f"many_{count}_{rate}_ns", 1, 0)
    for count, rate in LIGHT] + [
    (f"CPU per packet of one edge with {TOGETHER_PER_SECOND:,}/s, ns", "many_1_ns", 1, 0)]
USER = [(f"... of it in user mode, {size:,} bytes, ns", f"cpu_{size}_user_ns", 1, 0)
        for size in SIZES] + [("... of it in user mode, iperf3, ns", "cpu_tcp_user_ns", 1, 0)]
LOSS = []
for count, cores in ((1, "one core"), (2, "two cores")):
    for size in SIZES:
        LOSS += [
            (f"packets of {size:,} bytes from {cores}, 1,000/s", f"rate_{size}_{count}_per_s",
             1e-3, 0),
            ("... of them lost, %", f"loss_{size}_{count}_share", 100, 2),
            ("... and after the first half second, %", f"warm_loss_{size}_{count}_share", 100, 2)]
LOSS += [
    ("iperf3's throughput, Gbit/s", "rate_tcp_gbit_per_s", 1, 1),
    ("... of it lost, %", "loss_tcp_share", 100, 1),
    (f"segments of GSO packets at {GSO_PER_SECOND:,}/s that are lost, %", "loss_gso_share", 100, 2)]
LOSS += [(f"lost of {count} edges with {rate}/s, %", f"loss_many_{count}_{rate}_share", 100, 2)
         for count, rate in LIGHT]
DELAY = [("delay from edge to sensor, median, ms", "delay_median_ms", 1, 1),
         ("delay, 99th percentile, ms", "delay_99th_ms", 1, 1)]
STATES = (("idle_10", f"{network.POD_COUNT} idle edges"),
          ("idle_250", f"{network.CROWD_COUNT} idle edges"), ("loaded", "after 60 bytes"))
REST = [(f"idle with {count} edges, % of a core", f"idle_{count}_share", 100, 2)
        for count in (network.POD_COUNT, network.CROWD_COUNT)] + [
    (f"start with {network.CROWD_COUNT} edges until it captures, ms", "start_ms", 1, 0),
    ("... until the last edge's packet arrives, ms", "first_packet_ms", 1, 0)] + [
    (f"memory, {text}, MiB: its own / all, with rings", (f"memory_{name}_anonymous_mib",
                                                       f"memory_{name}_total_mib"), 1, 1)
    for name, text in STATES]
LINES = CPU + USER + LOSS + DELAY + REST

POD_LINES = [line for size in (SIZES[0], SIZES[-1]) for line in (
    (f"{size:,} bytes to a pod of this node, CPU of the sender per packet, ns",
     f"pods_between_{size}_ns", 1, 0, (NOBODY, "-", "agent")),
    ("... 1,000 packets/s", f"pods_between_{size}_per_s", 1e-3, 0, (NOBODY, "-", "agent")),
    (f"{size:,} bytes to a pod elsewhere, CPU of the sender per packet, ns",
     f"pods_elsewhere_{size}_ns", 1, 0, (NOBODY, "does not report", "reports")),
    ("... 1,000 packets/s", f"pods_elsewhere_{size}_per_s", 1e-3, 0,
     (NOBODY, "does not report", "reports")))]
NODE_LINES = [line for size in SIZES[1:] for line in (
    (f"whole node, {size:,} bytes at {PACED_PER_SECOND:,}/s, CPU per packet, ns", f"node_{size}_ns"),
    ("... the process", f"node_{size}_process_ns"),
    ("... senders and softirqs, above no agent", f"node_{size}_elsewhere_ns"))]
SENSOR_LINES = [
    ("CPU of the process per packet, ns", "sensors_cpu_ns", 1, 0),
    ("CPU of the senders per packet, ns", "sensors_sender_ns", 1, 0),
    ("memory, MiB: its own", "sensors_memory_anonymous_mib", 1, 1),
    ("memory, MiB: all, with rings", "sensors_memory_total_mib", 1, 1),
    ("lost, %", "sensors_loss_share", 100, 2)]


SERVICE_LINES = [line for rate in services.RATES for line in (
    (f"CPU for each of {rate:,} calls/s, ns", f"services_{rate}_ns", 1, 0),
    ("... of it in user mode, ns", f"services_{rate}_user_ns", 1, 0),
    ("... packets of it that were reported", f"services_{rate}_reported", 1, 3),
    ("... calls/s that there were", f"services_{rate}_per_s", 1, 0),
    ("... the agent's own memory after it, MiB", f"services_{rate}_mib", 1, 1))]
COLLECTOR_LINES = [line for kind, text in (
    ("paced", f"{collecting.PER_SECOND:,} packets/s"), ("full", "full speed")) for line in (
        (f"{collecting.BYTES} bytes, {text}, CPU of the collector per packet, ns",
         f"collector_{kind}_ns", 1, 0),
        ("... 1,000 packets/s", f"collector_{kind}_per_s", 1e-3, 0),
        ("... of them later than the order waits, %", f"collector_{kind}_late_share", 100, 2))]


def cell(figure, scale, digits):
    """A median, and how far the rounds went where there were several."""
    if figure is None:
        return "-"
    text = f"{figure.median * scale:,.{digits}f}"
    low, high = (f"{value * scale:,.{digits}f}" for value in figure.spread)
    return text if low == high else f"{text} ({low}–{high})"


def table(head, rows):
    widths = [max(len(row[index]) for row in [head, *rows]) for index in range(len(head))]

    def line(row):
        return "| " + " | ".join(
            text.ljust(width) if index == 0 else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths))) + " |"
    rule = "| " + " | ".join("-" * width if index == 0 else "-" * (width - 1) + ":"
                             for index, width in enumerate(widths)) + " |"
    return "\n".join([line(head), rule, *map(line, rows)])


def tables(figures, names):
    """All that was measured, with the contestants side by side, and what the pods pay."""
    rows = []
    names = [name for name in names if any(name in row for row in figures.table.values())]
    for title, measures, scale, digits in LINES:
        measures = measures if isinstance(measures, tuple) else (measures,)
        if not any(measure in figures.table for measure in measures):
            continue
        rows.append([title] + [" / ".join(cell(figures.get(measure, name), scale, digits)
                                          for measure in measures) for name in names])
    # A contestant that was not asked for two figures has one dash.
    rows = [[text if text != "- / -" else "-" for text in row] for row in rows]
    parts = [table(["", *names], rows)] if rows else []
    others = list(dict.fromkeys(
        name for _, measure in NODE_LINES for name in figures.table.get(measure, {})))
    parts += further(figures, ["", *others], [
        (title, measure, 1, 0, others) for title, measure in NODE_LINES])
    parts += further(figures, ["250 idle edges", NOBODY, *names], [
        ("timer interrupts a second", "interrupts_per_s", 1, 0, (NOBODY, *names))])
    crowd = f"{network.CROWD_COUNT} edges with {SENSORS_PER_SECOND}/s"
    parts += further(figures, [crowd, "one sensor", "two", "three"], [
        (*line, ("1", "2", "3")) for line in SENSOR_LINES])
    parts += further(figures, ["what pods pay", NOBODY, "an edge that does not report",
                               "one that reports"], POD_LINES)
    parts += further(figures, ["new calls to services, known from", "connection tracking",
                               "Cilium's tables"], [
        (*line, ("conntrack", "cilium")) for line in SERVICE_LINES])
    parts += further(figures, ["four agents to a file", *collecting.ORDERS], [
        (*line, tuple(collecting.ORDERS)) for line in COLLECTOR_LINES])
    return "\n\n".join(parts)


def further(figures, head, lines):
    """A table of those lines that were measured; none if none were. Each has its own columns."""
    rows = [[title] + [cell(figures.get(measure, name), scale, digits) for name in columns]
            for title, measure, scale, digits, columns in lines if measure in figures.table]
    return [table(head, rows)] if rows else []


def bounds(found):
    rows = []
    for bound in found:
        sign = "at least" if bound.at_least else "at most"
        verdict = "ok" if bound.is_kept else "NOT OK"
        rows.append([bound.text, f"{bound.value:,.2f} {bound.unit}",
                     f"{sign} {bound.limit:,.4g} {bound.unit}", verdict])
    return table(["bound", "measured", "bound", ""], rows) if rows else ""


def soak(result):
    rows = [[name, *(f"{result[key][part] / scale:,.{digits}f}"
                     for part in ("early", "late", "most"))]
            for name, key, scale, digits in (
                ("its own memory, MiB", "anonymous", 1 << 20, 2),
                ("all memory, with rings, MiB", "total", 1 << 20, 1),
                ("descriptors", "descriptors", 1, 0), ("threads", "threads", 1, 0))]
    accounts = result["accounts"]
    fates = list(dict.fromkeys(name for account in accounts for name in account
                               if name.startswith("fate_") and any(a[name] for a in accounts)))
    lines = [("frames sent by pods, and not matched", "unmatched"), ("frames matched", "matched"),
             *(("... " + name.removeprefix("fate_").replace("_", " "), name) for name in fates),
             ("unaccounted for", "unaccounted"), ("packets got by the sensor", "got")]
    counts = [[title, *(f"{account[name]:,.0f}" for account in accounts)] for title, name in lines]
    verdict = f"grew: {', '.join(result['grown'])}" if result["grown"] else "did not grow"
    law = "\n".join(["the accounts are wrong:", *result["wrong"]]) if result["wrong"] else (
        "the accounts of all sensors add up")
    return (f"{result['sent']:,} packets sent, {result['packets']:,} of them got by the first sensor, "
            f"in {result['seconds']:,.0f} s: podwire {verdict}, {law}\n\n"
            + table(["at rest, least", "first half", "second half", "most under load"], rows) + "\n\n"
            + table(["", *(account["sensor"] for account in accounts[:-1]),
                     accounts[-1]["sensor"] + " (slow)"], counts))


def plot(figures, names, file):
    """CPU per packet against size, a line with the rounds' spread for each contestant."""
    kind = "pngcairo" if file.endswith(".png") else "svg"
    drawn = [name for name in names if figures.get(f"cpu_{SIZES[0]}_ns", name)]
    if not drawn:
        raise RuntimeError("a plot needs the measure cpu")
    values = [value for name in drawn for size in SIZES
              for value in figures.get(f"cpu_{size}_ns", name).spread]
    low, high = (rounded(math.log10(value)) for value, rounded in (
        (min(values), math.floor), (max(values), math.ceil)))
    commands = [
        f"set terminal {kind} size 800,480 font 'sans-serif,13' background '#ffffff'",
        f"set output {quoted(str(pathlib.Path(file).absolute()))}",
        "set title 'CPU per forwarded packet'", "set xlabel 'frame, bytes'",
        "set ylabel 'nanoseconds, user and system'", "set logscale xy",
        "set xtics (" + ", ".join(f"'{size:,}' {size}" for size in SIZES) + ")",
        "set xrange [50:1900]",
        f"set yrange [{10 ** low}:{10 ** high}]", "set ytics (" + ", ".join(
            f"'{step * 10 ** power:,}' {step * 10 ** power}"
            for power in range(low, high + 1) for step in (1, 2, 5)) + ")",
        "set grid", "set key top left", "set border 3", "set tics nomirror"]
    parts = []
    for index, name in enumerate(drawn):
        rows = []
        for size in SIZES:
            figure = figures.get(f"cpu_{size}_ns", name)
            rows.append(f"{size} {figure.median} {figure.spread[0]} {figure.spread[1]}")
        commands += [f"$data{index} << end", *rows, "end"]
        style = f"lt {index + 1} lw 2 pt {5 + 2 * index}"
        parts += [f"$data{index} using 1:2:3:4 with yerrorbars {style} notitle",
                  f"$data{index} using 1:2 with linespoints {style} title {quoted(name)}"]
    subprocess.run(["gnuplot"], input="\n".join([*commands, "plot " + ", ".join(parts)]), text=True,
                   check=True, timeout=60)


def quoted(text):
    return "'" + text.replace("'", "''") + "'"
