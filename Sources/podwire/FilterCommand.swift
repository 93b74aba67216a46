import ArgumentParser
import BPF
import CaptureFiles
import Filter
import Formats
import Linux

/// `podwire filter`: shows what a filter means, and what it matches.
struct FilterCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "filter",
        abstract: "Compiles a filter of pcap-filter(7), or counts what it matches in a file.",
        discussion: """
            The language is that of tcpdump and Wireshark's capture filters, for Ethernet. The program \
            is what `--filter` of other commands gives to the kernel: it keeps the packets that \
            tcpdump's would keep.

              podwire filter port 53 and host 10.1.2.3
              podwire filter 'net 10.1.0.0/16 and not (port 22 or portrange 8000-8080)'
              podwire filter 'tcp[tcpflags] & (tcp-syn|tcp-fin) != 0'
              podwire filter --format ddd port 53
              podwire filter --file pods.pcapng net 10.244.0.0/16

            `and` and `or` bind alike, from left to right, and `not` binds closest.

            Not supported: protochain, gateway, DECnet's addresses, names of networks and of Ethernet addresses, words for \
            other link types than Ethernet, and inbound, outbound and ifindex, which say nothing about \
            the packets of many pods. Names of services and protocols are those of a table, not of this \
            machine's files.

            Exit code 64: the filter or the file cannot be understood. 71: the system refuses something, \
            such as a file.
            """)

    @Argument(
        help: ArgumentHelp(
            "The filter. Quote it if it has signs that mean something to the shell.",
            valueName: "filter"))
    var words: [String] = []

    @Option(
        help: ArgumentHelp(
            """
            listing, with a reason for each instruction, or ddd, the numbers that `tcpdump -ddd` prints.
            """, valueName: "listing|ddd"))
    var format: Format = .listing

    @Option(
        help: ArgumentHelp(
            """
            A pcap or pcapng file whose packets to count instead, or - for standard input. It may be \
            compressed with gzip.
            """, valueName: "FILE"),
        completion: .file(extensions: ["pcap", "pcapng", "gz"]))
    var file: String?

    @Option(
        help: ArgumentHelp(
            """
            A file with the filter, or - for standard input. Lines that begin with # are comments.
            """, valueName: "FILE"),
        completion: .file())
    var filterFile: String?

    @Flag(help: "Look up the addresses of hosts' names.")
    var resolve = false

    @Flag(help: "With --file, print JSON: an object.")
    var json = false

    @OptionGroup var display: DisplayOptions

    /// The forms of a program.
    enum Format: String, CaseIterable, ExpressibleByArgument {
        case listing, ddd
    }

    func validate() throws {
        guard words.isEmpty || filterFile == nil else {
            throw ValidationError("--filter-file: give a filter or a file")
        }
        guard !json || file != nil else { throw ValidationError("--json needs --file") }
        guard filterFile != "-" || file != "-" else {
            throw ValidationError("--file and --filter-file: standard input can be read once")
        }
    }

    func run() throws {
        let read = try readingSettings(for: "filter") { try expression() }
        guard let filter = read else { return }
        guard let file else { return try show(filter.program) }
        try readingCaptures(for: "filter") { try count(file, filter) }
    }

    private func expression() throws -> FilterExpression? {
        let text = filterFile == nil ? words.joined(separator: " ") : nil
        return try FilterOptions(text, file: filterFile, resolves: resolve).expression
    }

    private func show(_ program: Program) throws(SystemError) {
        switch format {
        case .listing: try writeToStandardOutput(program.listingText(in: display.window))
        case .ddd:
            let lines = program.instructions.map { step in
                "\(step.opcode.rawValue) \(step.ifTrue) \(step.ifFalse) \(step.operand)\n"
            }
            try writeToStandardOutput("\(lines.count)\n" + lines.joined())
        }
        let count = program.instructions.count
        if count > Program.kernelInstructionCountMax {
            printMessage(
                of: "filter",
                """
                \(count) instructions are more than the kernel takes \
                (\(Program.kernelInstructionCountMax)): an agent runs it in user space
                """)
        }
    }

    private func count(_ file: String, _ filter: FilterExpression) throws {
        var reader = try CaptureReader(path: file)
        var (count, matchCount) = (0, 0)
        let damage = try reader.readAll { frame in
            count += 1
            if frame.passes(filter.program) { matchCount += 1 }
        }
        if json {
            let object = JSON.object([
                ("filter", .text(filter.text)),
                ("instructions", .number(filter.program.instructions.count)),
                ("packets", .number(count)), ("matches", .number(matchCount)),
            ])
            try writeToStandardOutput(object.text + "\n")
        } else {
            let all = Wording.count(count, "packet")
            try writeToStandardOutput(
                "\(matchCount) of \(all) match\(matchCount == 1 ? "es" : "")\n")
        }
        for gap in reader.gaps { printMessage(of: "filter", "\(file): \(gap)") }
        if let damage {
            printMessage(of: "filter", "\(file): \(damage)")
            throw Exit.usage
        }
    }
}

extension Program {
    /// The program for people: a line for each instruction, with its number and its reason.
    ///
    /// A reason that is too long for the window goes on below.
    func listingText(in window: Window) -> String {
        let lines = listing
        let instructionWidth = lines.map(\.instruction.count).max() ?? 0
        let mark = "  ; "
        let width = max(Self.noteWidthMin, (window.width ?? .max) - instructionWidth - 10)
        let text = lines.enumerated().flatMap { index, line in
            let number = "\(index)"
            let head = Wording.padded("", to: 4 - number.count) + number + "  "
            let instruction = Wording.padded(line.instruction, to: instructionWidth)
            let pad = Wording.padded("", to: head.count + instructionWidth)
            let notes = Wording.lines(line.note, width: width, breaksWords: true)
            return notes.enumerated().map { part, note in
                (part == 0 ? head + instruction : pad) + mark + note + "\n"
            }
        }
        return text.joined()
    }

    /// The least width of a reason, in narrow windows.
    private static let noteWidthMin = 8
}
