package import BPF
import Formats

/// A filter as `tcpdump -ddd` prints it.
///
/// The number of instructions comes first, then each instruction as four decimal numbers: code, jt,
/// jf and k. They are on lines of their own, or behind commas as iptables takes them.
package enum TcpdumpFilter {
    /// Why a text is refused, and at which line.
    package struct Failure: Error, Equatable, CustomStringConvertible {
        package let description: String

        init(_ description: String) { self.description = description }
    }

    /// The longest text that is read; it holds the longest program that there may be.
    package static let byteCountMax = 1 << 20

    /// Reads a program, and checks that the kernel would take it.
    package static func program(_ text: String) throws(Failure) -> Program {
        let lines = entries(text)
        guard let head = lines.first else {
            throw Failure("it is empty; it takes what tcpdump -ddd prints")
        }
        guard let count = Int(head.text), (1...Program.instructionCountMax).contains(count) else {
            throw Failure(
                "\(head.place): \(quoted(head.text)) is no number of instructions from 1 to "
                    + "\(Program.instructionCountMax); it takes what tcpdump -ddd prints")
        }
        let steps = lines.dropFirst()
        guard steps.count == count else {
            throw Failure(
                "\(head.place) says \(Wording.count(count, "instruction")), and "
                    + Wording.count(steps.count, one: "line follows", more: "lines follow"))
        }
        var instructions: [Instruction] = []
        for step in steps { instructions.append(try instruction(step)) }
        do throws(Program.Failure) {
            return try Program(checking: instructions)
        } catch {
            let place = error.index.map { "\(lines[$0 + 1].place): " } ?? ""
            throw Failure("\(place)\(error)")
        }
    }

    private struct Entry {
        let text: Substring
        let place: String
    }

    /// The texts between line ends and commas, with their places counted from 1.
    private static func entries(_ text: String) -> [Entry] {
        var entries: [Entry] = []
        let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        for (index, line) in lines.enumerated() {
            let parts = line.split(separator: ",")
            for (part, text) in parts.enumerated() where !text.allSatisfy(\.isWhitespace) {
                let place = parts.count > 1 ? ", entry \(part + 1)" : ""
                let words = text.drop(while: \.isWhitespace)
                entries.append(Entry(text: words, place: "line \(index + 1)\(place)"))
            }
        }
        return entries
    }

    private static func instruction(_ entry: Entry) throws(Failure) -> Instruction {
        let words = entry.text.split(whereSeparator: \.isWhitespace)
        guard words.count == 4, let code = UInt16(words[0]), let ifTrue = UInt8(words[1]),
            let ifFalse = UInt8(words[2]), let operand = UInt32(words[3])
        else {
            throw Failure(
                "\(entry.place): \(quoted(entry.text)) is no instruction, which is four decimal "
                    + "numbers: code, jt, jf and k")
        }
        return Instruction(
            Opcode(rawValue: code), operand, ifTrue: ifTrue, ifFalse: ifFalse)
    }

    /// The most characters of a wrong line that are repeated.
    private static let quotedCountMax = 64

    private static func quoted(_ text: Substring) -> String {
        "\"\(ReplyText.printableWords(String(text.prefix(quotedCountMax))))\""
    }
}

extension Program.Failure {
    /// The index of the instruction that is wrong, if one is.
    fileprivate var index: Int? {
        switch self {
        case .unknownOpcode(_, let index), .jumpsOut(let index), .dividesByZero(let index),
            .shiftsTooFar(let index), .scratchOutOfRange(let index):
            index
        case .empty, .tooLong, .doesNotEnd: nil
        }
    }
}
