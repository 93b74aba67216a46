import Addressing
import ArgumentParser
import CaptureFiles
import Flows
import Formats
import Glibc
import Linux

/// `podwire top`: shows who talks to whom.
struct TopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Shows who talks to whom: the conversations of a capture file.",
        discussion: """
            A conversation is a client and a service that it calls, at an address and a port, over \
            any number of connections. The client is the one that opens connections. Pods have \
            names if the file has them, as those of `podwire collect` do.

              podwire top pods.pcapng
              podwire top pods.pcapng --sort unanswered --only shop/
              tcpdump -i eth0 -w - | podwire top -

            BYTES and PACKETS are those of both directions, and RATE is the average over the time of \
            the conversation. A request is a TCP SYN or a ping: UNANSWERED are those without an \
            answer within 3 s, REFUSED those that were reset, or that an ICMP error refused. Both \
            columns are there if there is one such request. What does not fit the window is left out.

            Exit code 64: an option or the file cannot be understood. 71: the system refuses \
            something, such as a file.
            """)

    @Argument(
        help: "A pcap or pcapng file, or - for standard input. It may be compressed with gzip.",
        completion: .file(extensions: ["pcap", "pcapng", "gz"]))
    var file: String

    @Option(
        help: """
            What to sort by: \
            \(ConversationList.Order.allCases.map(\.rawValue).joined(separator: ", ")). Names from A \
            on; all else from the largest or latest on.
            """)
    var sort: ConversationList.Order = .bytes

    @Option(
        help: """
            Show only conversations with this text in the client or the service: a part of a name, \
            of an address, or :53/udp. Given several times, all have to be there.
            """)
    var only: [String] = []

    @Option(help: "The most conversations to show. (default: 20; with --json all)")
    var count: Int?

    @Flag(help: "Print JSON: an object.")
    var json = false

    private static let standardCount = 20

    func validate() throws {
        guard count.map({ $0 > 0 }) ?? true else {
            throw ValidationError("--count: it takes a number from 1 on")
        }
    }

    func run() throws { try readingCaptures(for: "top", show) }

    private func show() throws {
        var reader = try CaptureReader(path: file)
        var table = ConversationTable()
        let damage = try reader.readAll { frame in
            table.add(
                frame.bytes.wire, wireByteCount: frame.wireByteCount,
                nanoseconds: frame.nanoseconds)
        }
        table.finish()
        let list = ConversationList(table, names: reader.names, filter: only, by: sort, since: nil)
        let report = TopReport(table, list)
        if json {
            writeToStandardOutput(report.json(countMax: count ?? .max).text + "\n")
        } else {
            writeToStandardOutput(
                report.text(width: outputWidth, countMax: count ?? Self.standardCount))
        }
        if reader.skippedCount > 0 {
            writeToStandardError("podwire top: \(reader.skippedText), and left out\n")
        }
        if let damage {
            writeToStandardError("podwire top: \(file): \(damage)\n")
            throw Exit.usage
        }
    }
}

extension ConversationList.Order: ExpressibleByArgument {}
