package import Addressing
package import BPF

/// A filter in the language of pcap-filter(7), with the program that it means.
///
/// The program is for frames of Ethernet whose VLAN tags are in them, as in a capture file. It keeps
/// the packets that libpcap's would keep.
package struct FilterExpression: Equatable, Sendable {
    /// The text, as a person wrote it.
    package let text: String
    /// The program.
    package let program: Program

    /// The text without lines and indentation.
    package var textInOneLine: String {
        text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }

    /// The longest text.
    package static let byteCountMax = 65_536
    /// What the program returns for a packet that passes: more than a packet has, as tcpdump has it.
    package static let keptByteCount: UInt32 = 262_144

    /// Compiles a text; an empty one lets everything pass.
    ///
    /// - Parameters:
    ///   - text: The text.
    ///   - resolve: Finds the addresses of a host's name; without it such names are refused. It may block.
    /// - Throws: What is wrong, where it is, and what would be right.
    package init(
        _ text: String, resolve: ((String) -> [IPAddress])? = nil
    ) throws(FilterError) {
        let bytes = Array(text.utf8)
        guard bytes.count <= Self.byteCountMax else {
            throw FilterError(
                "the filter has \(bytes.count) bytes; the most are \(Self.byteCountMax)",
                at: Self.byteCountMax..<Self.byteCountMax + 1)
        }
        self.text = text
        var parser = Parser(try Lexer.tokens(bytes), of: bytes, resolve: resolve)
        guard let part = try parser.filter() else {
            program = .keepAll
            return
        }
        program = try Self.program(&parser.conditions.graph, part, of: 0..<bytes.count)
    }

    /// Compiles the content of a file, whose lines that begin with `#` are comments.
    ///
    /// - Parameters:
    ///   - bytes: The content.
    ///   - resolve: As above.
    /// - Throws: As above; places count in `text(ofFile:)`.
    package init(
        file bytes: [UInt8], resolve: ((String) -> [IPAddress])? = nil
    ) throws(FilterError) {
        try self.init(Self.text(ofFile: bytes), resolve: resolve)
    }

    /// The text of a file, with spaces in the place of comments.
    package static func text(ofFile bytes: [UInt8]) -> String {
        let newline = UInt8(ascii: "\n")
        let lines = bytes.split(separator: newline, omittingEmptySubsequences: false)
        let plain = lines.map { line in
            line.first { $0 != 0x20 && $0 != 0x09 } == UInt8(ascii: "#")
                ? [UInt8](repeating: 0x20, count: line.count) : Array(line)
        }
        return String(decoding: Array(plain.joined(separator: [newline])), as: UTF8.self)
    }

    private static func program(
        _ graph: inout Graph, _ part: Graph.Part, of range: Range<Int>
    ) throws(FilterError) -> Program {
        graph.close(part)
        var simplifier = Simplifier(&graph, entry: part.entry)
        simplifier.run()
        let program: Program
        do throws(ProgramWriter.OutOfScratch) {
            program = try ProgramWriter.program(simplifier, graph, keeping: keptByteCount)
        } catch {
            throw FilterError(
                "an arithmetic expression needs too many numbers at a time", at: range)
        }
        let count = program.instructions.count
        guard count <= Program.instructionCountMax else {
            throw FilterError(
                "the filter takes \(count) instructions; the most are \(Program.instructionCountMax)",
                at: range)
        }
        return program
    }
}
