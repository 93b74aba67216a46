/// The memory of the machine, and the limits of this process's control groups.
package struct Memory: Equatable, Sendable {
    /// The memory that is free without swapping or killing, or nil if the kernel does not say.
    package let availableByteCount: Int?
    /// The lowest limit of this process's control groups, or nil if there is none.
    ///
    /// Memory that the kernel holds for a process, such as packet rings, counts only in part.
    package let limitByteCount: Int?

    /// Creates a value from known numbers.
    package init(availableByteCount: Int?, limitByteCount: Int?) {
        self.availableByteCount = availableByteCount
        self.limitByteCount = limitByteCount
    }

    /// The memory as it is now (proc_meminfo(5), cgroups(7)).
    package static var current: Self {
        Self { path in
            guard let bytes = try? readFile(path, byteCountMax: fileByteCountMax) else {
                return nil
            }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    /// The most that is read of a file; those that are read are far smaller.
    private static let fileByteCountMax = 64 << 10

    /// Creates a value from the kernel's files.
    ///
    /// - Parameter read: Returns a file's text by its path, or nil if there is no such file.
    package init(_ read: (String) -> String?) {
        let available = read("/proc/meminfo")?.split(separator: "\n").first {
            $0.hasPrefix("MemAvailable:")
        }
        availableByteCount = available?.split(separator: " ").dropFirst().first
            .flatMap { Int($0) }.map { $0 << 10 }
        // Version 1 writes "no limit" as an amount that no machine has.
        limitByteCount = Self.limitFiles(read("/proc/self/cgroup") ?? "").compactMap { path in
            read(path).flatMap { Int($0.prefix { $0.isNumber }) }
        }.filter { $0 < 1 << 50 }.min()
    }

    /// The files with the limits of each group that the process is in, of cgroups version 1 and 2.
    ///
    /// In a container only some of them exist.
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

    /// The folder of a group, and the folders above it.
    private static func folders(_ root: String, _ path: Substring) -> [String] {
        path.split(separator: "/").reduce(into: [root]) { folders, name in
            folders.append("\(folders[folders.count - 1])/\(name)")
        }
    }
}
