import Glibc
import Kernel
import Logging

/// Writes each log line to standard error: time, level, message, then key=value in a fixed order.
struct LineLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level

    init(level: Logger.Level) {
        logLevel = level
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        let pairs = all.sorted { $0.key < $1.key }.map {
            " \($0.key)=\(Self.quoted("\($0.value)"))"
        }
        let line = "\(TimeStamp.forLog()) \(event.level) \(event.message)\(pairs.joined())\n"
        writeToStandardError(line)
    }

    /// A value with a space or a quote in it is put into quotes. What comes from a peer cannot
    /// begin a line of its own.
    private static func quoted(_ value: String) -> String {
        let isPlain = value.utf8.allSatisfy {
            $0 > 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "=") && $0 != 0x7f
        }
        if isPlain, !value.isEmpty { return value }
        let escaped = value.unicodeScalars.map { scalar -> String in
            switch scalar {
            case "\"", "\\": "\\\(scalar)"
            case "\n": "\\n"
            case _ where scalar.value < 0x20 || scalar.value == 0x7f: "?"
            default: String(scalar)
            }
        }
        return "\"\(escaped.joined())\""
    }
}

/// Writes a text to standard error; nobody can be told if that fails.
func writeToStandardError(_ text: String) {
    try? writeAll(text.utf8, to: STDERR_FILENO, "standard error")
}

func writeToStandardOutput(_ text: String) {
    try? writeAll(text.utf8, to: STDOUT_FILENO, "standard output")
}
