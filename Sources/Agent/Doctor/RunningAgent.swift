import Glibc
import Kernel

/// An agent that runs already where the doctor looks.
enum RunningAgent {
    /// Whether one of the processes that can be seen is this program as an agent: in a container, the
    /// container's own one, when the doctor is called inside it.
    static var isThere: Bool {
        guard let own = try? FileStamp(of: "/proc/self/exe"),
            let names = try? fileNames(in: "/proc")
        else { return false }
        return names.compactMap { Int32($0) }.contains { process in
            guard process != getpid(), let other = try? FileStamp(of: "/proc/\(process)/exe"),
                other == own,
                let line = try? readFile(
                    "/proc/\(process)/cmdline", byteCountMax: lineByteCountMax)
            else { return false }
            let words = line.split(separator: 0)
            return words.count > 1 && words[1].elementsEqual("agent".utf8)
        }
    }

    /// More than any agent's command line.
    private static let lineByteCountMax = 64 << 10
}
