/// How much memory there is.
package struct Memory: Equatable, Sendable {
    /// What the machine can give before it has to swap or to kill; nil if it does not say.
    package let availableByteCount: Int?
    /// The least that this process's control group and those around it allow; nil for any amount. What
    /// the kernel holds for a process, such as the rings of packet sockets, counts only in part.
    package let limitByteCount: Int?

    package init(availableByteCount: Int?, limitByteCount: Int?) {
        self.availableByteCount = availableByteCount
        self.limitByteCount = limitByteCount
    }

    /// Looks at it (proc_meminfo(5), cgroups(7)).
    package static var current: Self {
        Self { path in
            guard let bytes = try? readFile(path, byteCountMax: fileByteCountMax) else {
                return nil
            }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    /// All files that are read are far smaller.
    private static let fileByteCountMax = 64 << 10

    /// The same, of files that `read` answers by their paths.
    package init(_ read: (String) -> String?) {
        let available = read("/proc/meminfo")?.split(separator: "\n").first {
            $0.hasPrefix("MemAvailable:")
        }
        availableByteCount = available?.split(separator: " ").dropFirst().first
            .flatMap { Int($0) }.map { $0 << 10 }
        // An amount that no machine has is version 1's way to say that there is no limit.
        limitByteCount = Self.limitFiles(read("/proc/self/cgroup") ?? "").compactMap { path in
            read(path).flatMap { Int($0.prefix { $0.isNumber }) }
        }.filter { $0 < 1 << 50 }.min()
    }

    /// The files of the limits of each group that the process is in, of both versions. In a container
    /// only some of them are there.
    private static func limitFiles(_ groups: String) -> [String] {
        groups.split(separator: "\n").flatMap { line -> [String] in
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { return [] }
            let controllers = parts[1].split(separator: ",")
            if parts[0] == "0" {
                return folders("/sys/fs/cgroup", parts[2]).map { "\($0)/memory.max" }
            }
            guard controllers.contains("memory") else { return [] }
            return folders("/sys/fs/cgroup/memory", parts[2]).map {
                "\($0)/memory.limit_in_bytes"
            }
        }
    }

    /// A group's folder, and those above it.
    private static func folders(_ root: String, _ path: Substring) -> [String] {
        path.split(separator: "/").reduce(into: [root]) { folders, name in
            folders.append("\(folders[folders.count - 1])/\(name)")
        }
    }
}
