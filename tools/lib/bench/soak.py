"""The soak: very many packets, and whether the agent grows."""

import time

from . import generator, processes

SAMPLE_COUNT = 100
SEGMENT_SECONDS = 20
# Allocators keep some of what they once had; a leak of a byte for a hundred packets shows.
GROWTH_BYTES_MAX = 2 << 20


def run(bench, kind, packet_count, say):
    """Runs until so many packets were forwarded, and answers what the agent used meanwhile."""
    samples, begin, packets, said = [], time.monotonic(), 0, 0
    with bench.meet(kind) as contestant:
        while packets < packet_count:
            senders = generator.begin(generator.Way(bench.bed), bench.tools, 60, SEGMENT_SECONDS)
            try:
                while packets < packet_count and any(sender.poll() is None for sender in senders):
                    time.sleep(0.1)
                    packets = contestant.drain.ask()["packets"]
                    if packets >= packet_count * len(samples) / SAMPLE_COUNT:
                        samples.append(sample(contestant, packets))
                    if packets >= said + packet_count / 20:
                        say(f"soak: {packets:,} of {packet_count:,} packets")
                        said = packets
            finally:
                for sender in senders:
                    sender.kill()
                    sender.communicate()
        contestant.await_silence()
        samples.append(sample(contestant, packets))
        return summary(samples, contestant, time.monotonic() - begin)


def sample(contestant, packets):
    return {"packets": packets, "anonymous": processes.memory(contestant.pid)["anonymous"],
            "descriptors": processes.descriptor_count(contestant.pid),
            "threads": processes.thread_count(contestant.pid)}


def summary(samples, contestant, seconds):
    # The first tenth is for rings and queues to become as large as they will.
    settled = samples[len(samples) // 10:]
    parts = {name: {"first": settled[0][name], "last": settled[-1][name],
                    "max": max(each[name] for each in settled)}
             for name in ("anonymous", "descriptors", "threads")}
    grown = [name for name, part in parts.items()
             if part["last"] > part["first"] + (GROWTH_BYTES_MAX if name == "anonymous" else 0)]
    return {"packets": contestant.drain.ask()["packets"], "seconds": seconds, **parts,
            "grown": grown, "samples": samples}
