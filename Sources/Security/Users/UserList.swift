/// Users and the hashes of their passwords, as the text of a file has them.
///
/// Each user has a line, `NAME:HASH`. Blank lines and those that begin with # are ignored.
package struct UserList: Sendable {
    let hashes: [[UInt8]: PasswordHash]

    /// The most users: far more than a team of people and sensors.
    package static let userCountMax = 1024
    /// The longest text: 256 bytes for each user.
    package static let byteCountMax = 256 << 10
    private static let nameByteCountMax = 255

    /// A line that cannot be understood, and what it should be.
    package struct Failure: Error, Equatable, CustomStringConvertible {
        /// The line, counted from 1.
        package let lineNumber: Int
        /// What is wrong with it.
        package let fault: String

        /// The line and the fault.
        package var description: String { "line \(lineNumber): \(fault)" }
    }

    /// Parses the text of a file.
    package init(_ text: [UInt8]) throws(Failure) {
        var hashes: [[UInt8]: PasswordHash] = [:]
        for (index, line) in Self.lines(of: text).enumerated() {
            guard let line = Self.content(of: line) else { continue }
            let entry: (name: [UInt8], hash: PasswordHash)
            do throws(Fault) {
                entry = try Self.entry(line)
                guard hashes.updateValue(entry.hash, forKey: entry.name) == nil else {
                    throw Fault("this name has another line above: remove one of them")
                }
                guard hashes.count <= Self.userCountMax else {
                    throw Fault("there are more than \(Self.userCountMax) users")
                }
            } catch {
                throw Failure(lineNumber: index + 1, fault: error.text)
            }
        }
        self.hashes = hashes
    }

    /// A text with a user's line added, or replaced if there is one; all other lines stay.
    ///
    /// - Throws: The first line that cannot be understood or is one user too many.
    package static func text(
        _ text: [UInt8], setting hash: PasswordHash, of name: String
    ) throws(Failure) -> [UInt8] {
        _ = try UserList(text)
        let newLine = Array("\(name):\(hash)".utf8)
        let head = Array("\(name):".utf8)
        var isNew = true
        var lines = lines(of: text).map { line in
            guard content(of: line)?.starts(with: head) == true else { return line }
            isNew = false
            return newLine[...]
        }
        // The text behind the last line feed is a line only if it is not empty.
        if lines.last?.isEmpty == true { lines.removeLast() }
        if isNew { lines.append(newLine[...]) }
        let result = lines.flatMap { $0 + [lineFeed] }
        _ = try UserList(result)
        return result
    }

    /// What is wrong with a user's name, or nil if nothing is.
    package static func fault(ofName name: String) -> String? {
        if name.isEmpty { return "there is no name" }
        if name.utf8.count > nameByteCountMax {
            return "the name has more than \(nameByteCountMax) bytes"
        }
        if name.utf8.contains(colon) { return "a name cannot have a colon, which ends it" }
        if name.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) {
            return "a name cannot have control characters"
        }
        if name.hasPrefix("#") { return "a name cannot begin with #, as comments do" }
        if name.first == " " || name.last == " " {
            return "a name cannot begin or end with a space"
        }
        return nil
    }

    /// What is wrong with a line.
    private struct Fault: Error {
        let text: String
        init(_ text: String) { self.text = text }
    }

    /// Parses a line.
    ///
    /// Faults show nothing of it but the name: what follows may be a password.
    private static func entry(
        _ line: ArraySlice<UInt8>
    ) throws(Fault) -> (name: [UInt8], hash: PasswordHash) {
        guard let end = line.firstIndex(of: colon),
            let name = String(validating: line[..<end], as: UTF8.self)
        else { throw Fault("this is not NAME:HASH, as `podwire password NAME` prints it") }
        if let fault = fault(ofName: name) { throw Fault(fault) }
        guard let text = String(validating: line[(end + 1)...], as: UTF8.self),
            let hash = PasswordHash(text)
        else {
            throw Fault(
                """
                what follows \(name): is not the hash of a password; `podwire password \(name)` prints the \
                whole line
                """)
        }
        return (Array(name.utf8), hash)
    }

    private static func lines(of text: [UInt8]) -> [ArraySlice<UInt8>] {
        text.split(separator: lineFeed, omittingEmptySubsequences: false)
    }

    /// A line without spaces around it, or nil if it is blank or a comment.
    private static func content(of line: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard let start = line.firstIndex(where: { !isSpace($0) }),
            let last = line.lastIndex(where: { !isSpace($0) }), line[start] != UInt8(ascii: "#")
        else { return nil }
        return line[start...last]
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
    }

    private static let lineFeed = UInt8(ascii: "\n")
    private static let colon = UInt8(ascii: ":")
}
