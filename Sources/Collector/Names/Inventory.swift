import Addressing
import Formats
package import Linux

/// The files of names that other programs read beside the packets.
///
/// Each file has one row for each address: the pod that has it, or had it last. A file is replaced as a
/// whole, so that its readers see all of the old one or all of the new one.
package struct Inventory: Sendable {
    private let folder: String

    /// The names of the files.
    package static let fileNames = ["hosts", "pods.ndjson", "pods.tsv"]
    /// The time between two writes, however often names change.
    static let interval = Duration.seconds(1)

    /// The first line of `hosts`, by which the file is known as one of these.
    private static let hostsHead = "# Pods, by podwire collect\n"

    /// The pause after a write, as a multiple of the time that it took.
    static let pauseFactor = 20

    /// Makes the folder if there is none.
    ///
    /// - Throws: What the kernel refuses, and if `hosts` is there and somebody else's.
    package init(folder: String) throws(SystemError) {
        try makeFolder(folder)
        let hosts = "\(folder)/\(Self.fileNames[0])"
        var head: [UInt8] = []
        if let old = try? Descriptor(reading: hosts, waits: false),
            (try? old.read(Self.hostsHead.utf8.count, to: &head, hosts)) ?? false,
            head != Array(Self.hostsHead.utf8)
        {
            throw SystemError("\(hosts): it is not podwire's, so it is not replaced", .fileExists)
        }
        self.folder = folder
    }

    /// Replaces the files.
    ///
    /// Does not wait for the disk.
    package func write(_ entries: [NameTable.Entry]) throws(SystemError) {
        let texts = [Self.hosts(entries), Self.objects(entries), Self.table(entries)]
        for (name, text) in zip(Self.fileNames, texts) {
            try replaceFile("\(folder)/\(name)", with: Array(text.utf8))
        }
    }

    /// The form of `/etc/hosts` (hosts(5)); pods that are gone are comments.
    package static func hosts(_ entries: [NameTable.Entry]) -> String {
        hostsHead
            + entries.map { entry in
                let from = TimeStamp.text(nanoseconds: entry.from)
                let time = entry.to.map { "from \(from) to \(TimeStamp.text(nanoseconds: $0))" }
                return (time == nil ? "" : "# ")
                    + "\(entry.address)\t\(entry.hostName)\t# \(time ?? "from \(from)")\n"
            }.joined()
    }

    /// An object a line, with the key `ip` for Suricata's datasets.
    package static func objects(_ entries: [NameTable.Entry]) -> String {
        entries.map { entry in
            JSON.object([
                ("ip", .text("\(entry.address)")), ("pod", .text(entry.pod.name)),
                ("namespace", .text(entry.pod.namespace)), ("agent", .text(entry.agent)),
                ("from", .text(TimeStamp.text(nanoseconds: entry.from))),
                ("to", entry.to.map { .text(TimeStamp.text(nanoseconds: $0)) } ?? .null),
            ]).text + "\n"
        }.joined()
    }

    /// A table for Zeek's input framework: tabs between fields, times in seconds, `-` for none.
    package static func table(_ entries: [NameTable.Entry]) -> String {
        func seconds(_ nanoseconds: UInt64) -> String {
            let micros = String(nanoseconds / 1000 % 1_000_000)
            return "\(nanoseconds / 1_000_000_000)."
                + String(repeating: "0", count: 6 - micros.count) + micros
        }
        let head = "#fields\tip\tpod\tnamespace\tagent\tfrom_time\tto_time\n"
        return entries.reduce(into: head) { text, entry in
            text +=
                "\(entry.address)\t\(entry.pod.name)\t\(entry.pod.namespace)\t\(entry.agent)\t"
                + "\(seconds(entry.from))\t\(entry.to.map(seconds) ?? "-")\n"
        }
    }
}
