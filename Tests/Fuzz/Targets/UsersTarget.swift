import Security

/// A file of users and their passwords' hashes.
///
/// A user who is added to a file that is understood is in the file, and every other line stays.
enum UsersTarget {
    static let target = FuzzTarget(
        "users", "the file of users who may log in", byteCountMax: 4096, check)

    private static let hashText =
        "$pbkdf2-sha512$10000$AAAAAAAAAAAAAAAAAAAAAA==$"
        + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    private static let name = "fuzz"

    private static func check(_ bytes: [UInt8]) throws(BrokenLaw) {
        let hash = try require(PasswordHash(hashText), "the hash is not understood")
        let text = String(decoding: bytes, as: UTF8.self)
        if let other = PasswordHash(text) {
            try require("\(other)" == text, "\(text) is written as \(other)")
        }
        let added: [UInt8]
        do throws(UserList.Failure) {
            _ = try UserList(bytes)
            added = try UserList.text(bytes, setting: hash, of: name)
        } catch {
            try require(error.lineNumber <= 1 + bytes.count, "line \(error.lineNumber)")
            return
        }
        let again = try? UserList.text(added, setting: hash, of: name)
        try require(again == added, "a user who is set twice")
        let own = Array("\(name):\(hash)".utf8)
        let lines = added.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        try require(lines.contains(own[...]), "a user who is not added")
        let before = bytes.split(separator: UInt8(ascii: "\n"))
        for line in before where !lines.contains(line) {
            let isOwn = String(decoding: line, as: UTF8.self).contains("\(name):")
            try require(isOwn, "a line that is gone: \(Array(line))")
        }
    }
}
