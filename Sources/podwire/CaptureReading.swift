import Addressing
import ArgumentParser
import BPF
import CaptureFiles
import Formats
import Linux

extension CaptureReader {
    /// Reads a file to its end, or to where it is damaged.
    ///
    /// What comes before the damage counts.
    ///
    /// - Parameter body: Is called with each frame.
    /// - Returns: Why the file could not be read to its end; nil if it could.
    /// - Throws: The same if there was no frame before, and what the kernel refuses.
    mutating func readAll(_ body: (Frame) -> Void) throws(Failure) -> String? {
        var isEmpty = true
        do throws(Failure) {
            while let frame = try next() {
                isEmpty = false
                body(frame)
            }
            return nil
        } catch {
            guard case .malformed(_, let reason) = error, !isEmpty else { throw error }
            return reason
        }
    }

    /// What was left out of the file, in words: `"1 packet is no Ethernet frame, and left out"`.
    var gaps: [String] {
        let skipped = skippedCount > 0 ? "\(skippedText), and left out" : nil
        return [skipped, isCutShort ? Self.cutShortText : nil].compactMap(\.self)
    }

    /// The packets that were skipped, in words: `"1 packet is no Ethernet frame"`.
    var skippedText: String {
        Wording.count(
            skippedCount, one: "packet is no Ethernet frame", more: "packets are no Ethernet frames"
        )
    }

    /// What is wrong with a file that ends in the middle of a packet, or of something else.
    static var cutShortText: String { "the file is cut short" }
}

extension CaptureReader.Frame {
    /// Whether a filter lets the frame pass.
    func passes(_ filter: Program) -> Bool {
        var ancillary = Ancillary()
        ancillary.wireByteCount = UInt32(clamping: wireByteCount)
        return filter.run(on: bytes.wire, ancillary) > 0
    }
}

/// Does what a command does that reads a capture file, and ends the program if that fails.
///
/// - Parameters:
///   - command: The command's name.
///   - body: What it does.
/// - Throws: The exit code of the failure, which has been said.
func readingCaptures(for command: String, _ body: () throws -> Void) throws {
    do {
        try body()
    } catch CaptureReader.Failure.malformed(let path, let reason) {
        printMessage(of: command, "\(path): \(reason)")
        throw Exit.usage
    } catch let code as ExitCode {
        throw code
    } catch {
        printMessage(of: command, "\(error)")
        throw Exit.systemError
    }
}
