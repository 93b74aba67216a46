"""tools/fuzz: builds the guided fuzzer's program, runs its targets, and reports what they find.

The program holds all targets (Tests/Fuzz), so that podwire is built once. It takes the target from
FUZZ_TARGET; its arguments are libFuzzer's.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGETS = ROOT / "Tests/Fuzz/Targets"
CORPUS = ROOT / "Tests/Fuzz/corpus"
# A folder of its own: the modules are built with a sanitizer and instrumented, and nothing else is.
BUILD = ROOT / ".build/fuzz"
FOUND = ROOT / ".build/fuzz-corpus"
FINDINGS = ROOT / ".build/fuzz-findings"
# An input that takes longer is a finding; a usual one takes less than a millisecond.
INPUT_SECONDS_MAX = 20
INPUT_MIB_MAX = 2048
# libFuzzer's exit code after SIGINT.
INTERRUPTED = 72
# The longest input that is put into the repository.
KEPT_BYTES_MAX = 2048
# The tests of random input that `random` runs, and the streams of seeds that these have.
RANDOM_TESTS = (r"^((RPCAPTests|CaptureFilesTests|EdgesTests)\."
                r"|(Netlink|Packets|Observation|Compression)Tests\.Random)")
RANDOM_STREAMS = 56

HELP = """\
Feeds inputs that libFuzzer makes to everything in podwire that reads bytes from outside, with an
address sanitizer. It changes inputs step by step towards paths through the code that none has
taken. A finding is a trap, a wrong access to memory, a broken law of the target (a round trip, a
bound), or an input that takes more than 20 seconds. The input is written to a file.

The target `random` is another kind: the tests that draw whole sessions, files, messages and
networks of nodes at random, with no guide, for as long as you like. --seed begins with that seed.

Begins with the inputs in Tests/Fuzz/corpus and with those of earlier runs. Builds into .build/fuzz,
which takes a few minutes at first. Exits with 1 if anything was found.
"""
EXAMPLES = """\
examples:
  tools/fuzz                              each target in turn, for a minute
  tools/fuzz --list                       what there is
  tools/fuzz frames rule --minutes 10     two of them, for 10 minutes each
  tools/fuzz --minutes 60 --jobs 4        an hour each, four at a time
  tools/fuzz names --input FILE           once more with an input that was found
  tools/fuzz names --keep                 puts new inputs that go new ways into the repository
"""


def fail(text, code=64):
    print(f"fuzz: {text}", file=sys.stderr)
    sys.exit(code)


class Parser(argparse.ArgumentParser):
    def error(self, message):
        fail(f"{message}; see --help")


def number(text, convert, least, what):
    try:
        value = convert(text)
        if value < least:
            raise ValueError
        return value
    except ValueError:
        fail(f"{text} is no number of {what}; see --help")


def parse():
    parser = Parser(prog="tools/fuzz", description=HELP, epilog=EXAMPLES, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="a target; all without it")
    parser.add_argument("--list", action="store_true", help="shows the targets, and runs none")
    parser.add_argument("--minutes", metavar="NUMBER", help="how long each target runs; default 1")
    parser.add_argument("--runs", metavar="NUMBER",
                        help="runs so many inputs of each target, always the same, and keeps none")
    parser.add_argument("--seed", metavar="NUMBER", help="of the changes; another one at each start")
    parser.add_argument("--jobs", metavar="NUMBER", default="1", help="targets at a time; default 1")
    parser.add_argument("--input", metavar="FILE", type=pathlib.Path,
                        help="reads this input only, with the one target that is named")
    parser.add_argument("--keep", action="store_true",
                        help="runs nothing, and adds short inputs of earlier runs to Tests/Fuzz/corpus")
    options = parser.parse_args()
    minutes = options.minutes if options.minutes is not None else "1"
    options.seconds = 60 * number(minutes, float, 0.01, "minutes")
    options.runs = options.runs and number(options.runs, int, 1, "runs")
    options.seed = options.seed and number(options.seed, int, 1, "a seed")
    options.jobs = number(options.jobs, int, 1, "jobs")
    if options.input and len(options.targets) != 1:
        fail("--input needs the one target that reads it; see --help")
    if options.input and not options.input.is_file():
        fail(f"{options.input} is no file; see --help")
    known = known_targets()
    for name in options.targets:
        if name not in known:
            fail(f"{name} is no target (--list shows them); see --help")
    options.targets = options.targets or [
        name for name in known if name != "random" or not (options.runs or options.keep)]
    if "random" in options.targets and (options.runs or options.keep or options.input):
        fail("random has neither inputs nor a corpus; see --help")
    return options


def known_targets():
    """The targets and what each reads, in the order in which they run."""
    found = {}
    for kind in re.findall(r"(\w+Target)\.target", (TARGETS / "FuzzTarget.swift").read_text()):
        text = (TARGETS / f"{kind}.swift").read_text()
        name, summary = re.search(r'FuzzTarget\(\s*"(\w+)",\s*"([^"]*)"', text).groups()
        found[name] = summary
    return {**found, "random": "sessions, files, messages and networks that tests draw at random"}


def toolchain():
    """The folder of the toolchain's programs, and libFuzzer without a main function."""
    swift = shutil.which("swiftc")
    if not swift:
        fail("needs a Swift toolchain, 6.3 or later: see swift.org/install", 1)
    info = subprocess.run([swift, "-print-target-info"], capture_output=True, check=True)
    resources = pathlib.Path(json.loads(info.stdout)["paths"]["runtimeResourcePath"])
    name = f"libclang_rt.fuzzer_no_main-{platform.machine()}.a"
    library = resources / "clang/lib/linux" / name
    if not library.exists():
        fail(f"the toolchain has no libFuzzer: {library} is missing", 1)
    # Beside the runtime: `swiftc` itself may be swiftly's.
    return (resources / "../../bin").resolve(), library


def build(library):
    """Builds the program with all targets and libFuzzer, and returns where it is."""
    done = subprocess.run(
        ["bash", "-c", "source tools/lib/common.sh; need_package_lists build", "fuzz"], cwd=ROOT)
    if done.returncode != 0:
        sys.exit(1)
    # What -sanitize=fuzzer stands for, but for two things. It links a main function, and SwiftPM gives
    # each executable its own. And it records the depth of the stack, which optimized code has no use for.
    coverage = "edge,indirect-calls,trace-cmp,inline-8bit-counters,pc-table"
    command = [
        "swift", "build", "-c", "release", "--product", "podwire-fuzz", "--scratch-path", str(BUILD),
        "--sanitize", "address", "-Xswiftc", f"-sanitize-coverage={coverage}",
        "-Xlinker", str(library), "-Xlinker", "-lstdc++"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PODWIRE_FUZZ": "1"},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        fail("the fuzzer's program cannot be built", 1)
    return BUILD / "release/podwire-fuzz"


@dataclasses.dataclass
class Report:
    """What became of a target."""

    name: str
    line: str
    is_good: bool = True


class Fuzzer:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.program = self.bin = None
        self.processes, self.lock, self.is_over = set(), threading.Lock(), False

    def prepare(self):
        """Builds what every target but `random` needs."""
        begin = time.monotonic()
        print("building", file=sys.stderr, flush=True)
        self.bin, library = toolchain()
        # A copy, so that another build does not disturb a run of hours.
        self.program = shutil.copy2(build(library), self.folder / "podwire-fuzz")
        print(f"built in {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)

    def environment(self, name):
        return {
            **os.environ, "FUZZ_TARGET": name,
            # Swift's own handler of traps would end the program before libFuzzer writes the input.
            "SWIFT_BACKTRACE": "enable=no",
            # What is freed is held for a while; more of it than this slows everything down.
            "ASAN_OPTIONS": "detect_leaks=0:quarantine_size_mb=8:malloc_context_size=8",
            "ASAN_SYMBOLIZER_PATH": str(self.bin / "llvm-symbolizer"),
        }

    def start(self, name, *arguments):
        """Runs libFuzzer to its end, and returns its lines and its exit code."""
        with self.lock:
            if self.is_over:
                return [], 0
            process = subprocess.Popen(
                [self.program, *map(str, arguments)], env=self.environment(name), cwd=self.folder,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
            self.processes.add(process)
        lines = [line.rstrip("\n") for line in process.stderr]
        code = process.wait()
        with self.lock:
            self.processes.discard(process)
        return lines, code

    def end(self):
        with self.lock:
            self.is_over = True
            for process in self.processes:
                process.kill()

    def limits(self):
        return [f"-timeout={INPUT_SECONDS_MAX}", f"-rss_limit_mb={INPUT_MIB_MAX}", "-reload=0"]

    def run(self, name):
        if name == "random":
            return self.run_random()
        arguments = [*self.limits(), "-verbosity=1"]
        FINDINGS.mkdir(parents=True, exist_ok=True)
        arguments.append(f"-artifact_prefix={FINDINGS}/{name}-")
        if self.options.runs:
            arguments += [f"-runs={self.options.runs}", f"-seed={self.options.seed or 1}"]
            own = self.folder / name
        else:
            arguments.append(f"-max_total_time={max(1, round(self.options.seconds))}")
            if self.options.seed:
                arguments.append(f"-seed={self.options.seed}")
            own = FOUND / name
        own.mkdir(parents=True, exist_ok=True)
        begin = time.monotonic()
        lines, code = self.start(name, *arguments, own, CORPUS / name)
        return self.report(name, lines, code, time.monotonic() - begin)

    def report(self, name, lines, code, seconds):
        if self.is_over or code == INTERRUPTED:
            return Report(name, "interrupted")
        if code != 0:
            return self.finding(name, lines)
        text = "\n".join(lines)
        count = int(([0] + re.findall(r"^#(\d+)", text, re.MULTILINE))[-1])
        state = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)/", text)
        line = f"{count:,} inputs, {count / max(seconds, 0.001):,.0f} a second"
        if state:
            edges, features, size = state[-1]
            line += f"; {edges} edges, {features} features, {size} inputs in the corpus"
        return Report(name, line)

    def finding(self, name, lines):
        text = "\n".join(lines)
        law = re.search(r"^== a broken law: (.*)$", text, re.MULTILINE)
        what = law[1] if law else (re.findall(r"^SUMMARY: (.*)$", text, re.MULTILINE) or ["it ended"])[-1]
        for line in self.trace(lines):
            print(f"  {line[:200]}", file=sys.stderr)
        report = f"FOUND: {what[:300]}"
        if match := re.search(r"Test unit written to (\S+)", text):
            path = pathlib.Path(match[1])
            path = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            report += f"\n  the input:       {path}\n  once more:       tools/fuzz {name} --input {path}"
        return Report(name, report, is_good=False)

    def trace(self, lines):
        """What was said of a finding, and of the stack the places in podwire."""
        said = [line for line in lines if re.match(r"==\d+==|.*Fatal error|ALARM", line)]
        places = [match[1].replace(f"{ROOT}/", "") for line in lines
                  if (match := re.match(rf" *#\d+ \S+ in (.*{re.escape(str(ROOT))}/\S+)", line))]
        names = subprocess.run(
            [self.bin / "swift-demangle", "-simplified"], input="\n".join(places[:12]),
            capture_output=True, text=True).stdout
        return said[:8] + [f"  at {line}" for line in names.splitlines()]

    def work(self, name):
        """What the options ask for of a target."""
        if self.options.input:
            return self.run_input(name, self.options.input)
        return self.keep(name) if self.options.keep else self.run(name)

    def run_input(self, name, path):
        lines, code = self.start(name, *self.limits(), path.resolve())
        if code != 0:
            return self.finding(name, lines)
        return Report(name, f"{path}: nothing is wrong with it")

    def run_random(self):
        cores = os.cpu_count() or 1
        seconds = max(1, round(self.options.seconds * cores / RANDOM_STREAMS))
        environment = {**os.environ, "FUZZ_SECONDS": str(seconds)}
        if self.options.seed:
            environment["FUZZ_SEED"] = str(self.options.seed)
        done = subprocess.run(
            ["swift", "test", "-c", "release", "--filter", RANDOM_TESTS], cwd=ROOT, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        said = [line for line in done.stdout.splitlines()
                if re.search(r"error|FUZZ_SEED|✘|Test run with", line)]
        line = next((line for line in said if "Test run with" in line), "no test has run")
        if done.returncode == 0 and "Test run with" in line:
            return Report("random", re.sub(r"^\W*Test run with ", "", line))
        seed = next((match[1] for line in said
                     if (match := re.search(r"FUZZ_SEED=(\d+): ", line))), None)
        print("\n".join(said) or done.stdout[-3000:], file=sys.stderr)
        again = f"\n  once more:       tools/fuzz random --seed {seed}" if seed else ""
        return Report("random", f"FOUND: {said[0] if said else line}{again}", is_good=False)

    def keep(self, name):
        """Adds the fewest inputs that take the ways which those of the repository do not."""
        own = FOUND / name
        if not own.is_dir():
            return Report(name, "there was no run of it before")
        new = self.folder / f"{name}.new"
        short = self.folder / f"{name}.short"
        shutil.copytree(CORPUS / name, new)
        short.mkdir()
        for path in own.iterdir():
            if path.stat().st_size <= KEPT_BYTES_MAX:
                shutil.copy(path, short)
        before = set(os.listdir(new))
        # Edges count and not how often each is taken: the corpus is to stay small.
        _, code = self.start(name, *self.limits(), "-set_cover_merge=1", "-use_counters=0", new, short)
        added = sorted(set(os.listdir(new)) - before)
        for file in added:
            shutil.copy(new / file, CORPUS / name / file)
        return Report(name, f"{len(added)} inputs added to the {len(before)} that there are",
                      is_good=code == 0)


def main():
    options = parse()
    if options.list:
        for name, summary in known_targets().items():
            print(f"{name:9} {summary}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with tempfile.TemporaryDirectory(prefix="podwire-fuzz-") as folder:
        fuzzer = Fuzzer(options, pathlib.Path(folder))
        if options.targets != ["random"]:
            fuzzer.prepare()
        reports = []
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            try:
                for job in concurrent.futures.as_completed(
                        [pool.submit(fuzzer.work, name) for name in options.targets]):
                    report = job.result()
                    reports.append(report)
                    print(f"{report.name:9} {report.line}", flush=True)
            except KeyboardInterrupt:
                fuzzer.end()
                pool.shutdown(cancel_futures=True)
                return 130
    bad = [report.name for report in reports if not report.is_good]
    if bad:
        print(f"\nfound something: {' '.join(bad)}")
    return int(bool(bad))
