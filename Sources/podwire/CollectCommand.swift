import ArgumentParser
import Collector
import Frames
import Glibc
import Kernel
import Logging

struct CollectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "collect",
        abstract: "Is a sensor: accepts agents and writes what they forward to a pcapng file.",
        discussion: """
            Each agent is an interface of the file. Until SIGINT or SIGTERM; then the agents send \
            what they have, and the file is completed. Two examples:

              podwire collect --output pods.pcapng
              podwire collect --output - | tshark -r -
            """)

    @Option(
        name: [.customShort("o"), .customLong("output")],
        help: "The file to write, or - for standard output. (default: podwire-DATE-TIME.pcapng)")
    var file: String?

    @Option(help: "Where to listen: PORT, ADDRESS:PORT or [IPV6]:PORT.")
    var listen = "2003"

    @Option(help: "The most bytes of a packet to ask for, 64 to 262144.")
    var snaplen = 262_144

    func validate() throws {
        guard address != nil else {
            throw ValidationError(
                "--listen \(listen) cannot be understood: it takes PORT, ADDRESS:PORT or [IPV6]:PORT"
            )
        }
        guard (64...262_144).contains(snaplen) else {
            throw ValidationError("--snaplen \(snaplen): it takes a number from 64 to 262144")
        }
    }

    private var address: SocketAddress? {
        if let port = UInt16(listen), port > 0 {
            return SocketAddress(IPAddress(ipv6High: 0, low: 0), port: port)
        }
        guard let colon = listen.lastIndex(of: ":"),
            let port = UInt16(listen[listen.index(after: colon)...]), port > 0
        else { return nil }
        var host = listen[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return IPAddress(String(host)).map { SocketAddress($0, port: port) }
    }

    func run() throws {
        let output = file ?? "podwire-\(TimeStamp.forFileName()).pcapng"
        guard let address else { throw Exit.usage }
        Signals.block()
        let logger = Logger(label: "podwire") { _ in LineLogHandler(level: .info) }
        do throws(SystemError) {
            let stop = try Event()
            let stopNumber = stop.number
            try Signals.onEnd(secondsMax: 5) { Event.raise(stopNumber) }
            let collector = try Collector(
                at: address, to: output, snaplen: snaplen, stop: stop, view: LiveView(),
                logger: logger)
            try collector.run()
            report(collector, output)
        } catch {
            writeToStandardError("podwire collect: \(error)\n")
            throw Exit.systemError
        }
    }

    private func report(_ collector: Collector, _ output: String) {
        let rows = collector.summary
        guard !rows.isEmpty else { return writeToStandardError("no agent has captured\n") }
        writeToStandardError(Columns.text(["AGENT", "PACKETS", "BYTES", "DROPPED"], rows))
        guard output != "-" else { return }
        let byteCount = Quantity.bytes(collector.fileByteCount)
        writeToStandardError("\(byteCount) in \(output)\n")
    }
}
