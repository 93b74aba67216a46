import Glibc

/// What the kernel says of a process that everybody asks of one: time, memory, threads and descriptors.
package struct ProcessFigures: Equatable, Sendable {
    /// The time that its threads have spent on processors, in user space and in the kernel, in seconds.
    package let cpuSeconds: Double
    /// When it was started, in seconds since 1970.
    package let startSeconds: Double
    package let virtualByteCount: UInt64
    package let residentByteCount: UInt64
    package let threadCount: UInt64

    /// The units and the moment in which the kernel counts.
    package struct Units: Sendable {
        package let ticksPerSecond: UInt64
        package let pageByteCount: UInt64
        /// When the machine was booted, in seconds since 1970.
        package let bootSeconds: UInt64

        package init(ticksPerSecond: UInt64, pageByteCount: UInt64, bootSeconds: UInt64) {
            (self.ticksPerSecond, self.pageByteCount) = (ticksPerSecond, pageByteCount)
            self.bootSeconds = bootSeconds
        }
    }

    /// Reads the text of `/proc/PID/stat` (proc_pid_stat(5)); nil if it has another form.
    package init?(stat text: String, _ units: Units) {
        // The name before may have spaces and parentheses.
        guard let nameEnd = text.lastIndex(of: ")"), units.ticksPerSecond > 0 else { return nil }
        let words = text[text.index(after: nameEnd)...].split { $0 == " " || $0 == "\n" }
        // The first word here is the third field in the manual page.
        func field(_ number: Int) -> UInt64? {
            words.indices.contains(number - 3) ? UInt64(words[number - 3]) : nil
        }
        guard let userTicks = field(14), let systemTicks = field(15), let threads = field(20),
            let startTicks = field(22), let virtual = field(23), let residentPages = field(24)
        else { return nil }
        let ticks = Double(units.ticksPerSecond)
        cpuSeconds = (Double(userTicks) + Double(systemTicks)) / ticks
        startSeconds = Double(units.bootSeconds) + Double(startTicks) / ticks
        virtualByteCount = virtual
        residentByteCount = residentPages &* units.pageByteCount
        threadCount = threads
    }

    /// Reads the boot time in the text of `/proc/stat`; nil if it is not there.
    package static func bootSeconds(stat text: String) -> UInt64? {
        for line in text.split(separator: "\n") where line.hasPrefix("btime ") {
            return UInt64(line.dropFirst("btime ".count))
        }
        return nil
    }
}

/// This process.
extension ProcessFigures {
    /// Longer than these files are, also on machines with thousands of processors.
    private static let fileByteCountMax = 8 << 20

    /// Reads the figures of this process; nil if `/proc` is not as usual.
    package static func read() -> Self? {
        guard let machine = text("/proc/stat"), let boot = bootSeconds(stat: machine),
            let own = text("/proc/self/stat")
        else { return nil }
        let units = Units(
            ticksPerSecond: UInt64(max(0, sysconf(CInt(_SC_CLK_TCK)))),
            pageByteCount: UInt64(max(0, sysconf(CInt(_SC_PAGESIZE)))), bootSeconds: boot)
        return Self(stat: own, units)
    }

    private static func text(_ path: String) -> String? {
        (try? readFile(path, byteCountMax: fileByteCountMax)).map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    /// The number of descriptors that this process has open; nil if `/proc` is not as usual.
    package static func readDescriptorCount() -> Int? {
        // One of them is that of the folder.
        (try? fileNames(in: "/proc/self/fd")).map { max(0, $0.count { Int($0) != nil } - 1) }
    }

    /// The most descriptors that this process may have open.
    package static var descriptorCountMax: UInt64? {
        var limit = rlimit()
        // Safety: the call fills `limit`.
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return nil
        }
        return UInt64(limit.rlim_cur)
    }
}
