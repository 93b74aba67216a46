import Glibc
import Security
import SecurityFixtures
import Testing

@Suite("A file of users")
struct UserFileTests {
    /// The hashes of "password" and of nothing, which are cheap to try.
    private static let hash =
        "$pbkdf2-sha512$10000$AAECAwQFBgcICQoLDA0ODw==$XlmEypBaVSQjizWYccEtwiA2kxgcZYBAF+jF/8AHNfM="
    private static let other =
        "$pbkdf2-sha512$10000$AAECAwQFBgcICQoLDA0ODw==$v1G3X0C/7pJstPKcbLnQ6+ZDpXHSk4EJo8PndMh9Bdw="
    private static let password = Array("password".utf8)

    private let folder: Folder

    init() throws { folder = try Folder() }

    private func verify(_ file: UserFile, _ user: String, _ password: [UInt8]) -> Bool {
        file.verify(user: Array(user.utf8), password: password)
    }

    @Test("lets in who is there with the right password, and nobody else")
    func verifies() throws {
        let text = """
            # who may log in

            alice:\(Self.hash)\r
              \t
            \tjosé maria:\(Self.other)\u{20}
            # bob:\(Self.hash)
            """
        let file = try UserFile(folder.put(text, "users"))
        #expect(verify(file, "alice", Self.password))
        #expect(verify(file, "josé maria", []))
        #expect(!verify(file, "alice", []))
        #expect(!verify(file, "alice", Self.password + [1]))
        #expect(!verify(file, "josé maria", Self.password))
        for stranger in ["bob", "# bob", "Alice", "alice\0", "", "alice:"] {
            #expect(!verify(file, stranger, Self.password))
        }
        // The same name in other bytes is another one.
        #expect(!verify(file, "jose\u{301} maria", []))
        #expect(file.takeReloadEvents() == [])
    }

    static let refused: [(text: String, lineNumber: Int, fault: String)] = [
        ("x", 1, "this is not NAME:HASH, as `podwire password NAME` prints it"),
        ("\n# a\nalice \(hash)", 3, "this is not NAME:HASH, as `podwire password NAME` prints it"),
        (":\(hash)", 1, "there is no name"),
        ("al\u{1}ice:\(hash)", 1, "a name cannot have control characters"),
        ("alice\u{85}:\(hash)", 1, "a name cannot have control characters"),
        ("alice :\(hash)", 1, "a name cannot begin or end with a space"),
        (
            String(repeating: "x", count: 256) + ":\(hash)", 1, "the name has more than 255 bytes"
        ),
        (
            "alice:\(hash)\nbob:\(other)\nalice:\(other)", 3,
            "this name has another line above: remove one of them"
        ),
        (
            "alice:secret", 1,
            "what follows alice: is not the hash of a password; `podwire password alice` prints the whole line"
        ),
        (
            "alice:\(hash)x", 1,
            "what follows alice: is not the hash of a password; `podwire password alice` prints the whole line"
        ),
    ]

    @Test("names the line that is wrong, and what would be right", arguments: refused)
    func refuses(text: String, lineNumber: Int, fault: String) throws {
        let path = try folder.put(text, "users")
        let failure = #expect(throws: UserFile.Failure.self) { try UserFile(path) }
        #expect(failure?.description == "\(path), line \(lineNumber): \(fault)")
    }

    @Test("has bounds")
    func bounds() throws {
        let users = (1...UserList.userCountMax).map { "user\($0):\(Self.hash)\n" }.joined()
        let file = try UserFile(folder.put(users, "users"))
        #expect(verify(file, "user1024", Self.password))
        let path = try folder.put(users + "one more:\(Self.hash)\n", "users")
        let failure = #expect(throws: UserFile.Failure.self) { try UserFile(path) }
        #expect(failure?.description == "\(path), line 1025: there are more than 1024 users")
        let blank = String(repeating: "\n", count: UserList.byteCountMax)
        _ = try UserFile(folder.put(blank, "users"))
        try folder.put(blank + "\n", "users")
        #expect(throws: UserFile.Failure.tooLarge(path: path)) { try UserFile(path) }
    }

    @Test("that is not there, or no file, is an error that says so", arguments: ["", "nothing"])
    func missing(name: String) throws {
        let path = "\(folder.path)/\(name)"
        let failure = #expect(throws: UserFile.Failure.self) { try UserFile(path) }
        let reason = name.isEmpty ? "Invalid argument" : "No such file or directory"
        #expect(
            failure?.description
                == "\(path): \(reason): give a file of users, as `podwire password` makes it")
    }

    @Test("is read again when it changes, and keeps its users while it is wrong")
    func renews() throws {
        let path = try folder.put("alice:\(Self.hash)\n", "users")
        let file = try UserFile(path)
        #expect(verify(file, "alice", Self.password))
        #expect(file.takeReloadEvents() == [])

        try folder.put("bob:\(Self.other)\n", "users")
        #expect(!verify(file, "alice", Self.password))
        #expect(verify(file, "bob", []))
        #expect(file.takeReloadEvents().map(\.text) == ["\(path) was read again"])

        try folder.put("bob\n", "users")
        #expect(verify(file, "bob", []))
        #expect(verify(file, "bob", []))
        let notices = file.takeReloadEvents()
        #expect(notices.map(\.isWarning) == [true])
        #expect(notices.first?.text.hasPrefix("\(path), line 1: ") == true)

        unsafe _ = unlink(path)
        #expect(verify(file, "bob", []))
        #expect(verify(file, "bob", []))
        #expect(file.takeReloadEvents().map(\.isWarning) == [true])

        try folder.put("carol:\(Self.other)\nbob:\(Self.hash)\n", "users")
        #expect(verify(file, "carol", []))
        #expect(verify(file, "bob", Self.password))
        #expect(file.takeReloadEvents().map(\.isWarning) == [false])
    }

    @Test("that others can read is warned of", arguments: [0o600, 0o640, 0o604, 0o644])
    func permissions(mode: Int) throws {
        let path = try folder.put("bob:\(Self.hash)\n", "users")
        unsafe _ = chmod(path, mode_t(mode))
        let text =
            "\(path) can be read by other users (mode \(String(mode, radix: 8))): "
            + "`chmod 600` keeps it to one"
        #expect(try UserFile(path).takeReloadEvents().map(\.text) == (mode == 0o600 ? [] : [text]))
    }

    @Test("with nobody in it is warned of")
    func nobody() throws {
        let path = try folder.put("# nobody yet\n", "users")
        unsafe _ = chmod(path, 0o600)
        let file = try UserFile(path)
        #expect(file.count == 0)
        #expect(file.takeReloadEvents().map(\.isWarning) == [true])
    }

    private static func edit(_ text: String, _ name: String) throws -> String {
        let hash = try #require(PasswordHash(Self.other))
        let bytes = try UserList.text(Array(text.utf8), setting: hash, of: name)
        return String(decoding: bytes, as: UTF8.self)
    }

    static let edits: [(before: String, after: String)] = [
        ("", "bob:\(other)\n"),
        ("\n", "\nbob:\(other)\n"),
        ("# users", "# users\nbob:\(other)\n"),
        ("alice:\(hash)", "alice:\(hash)\nbob:\(other)\n"),
        (
            "# bob:x\n\nbob:\(hash)\r\nalice:\(hash)\n",
            "# bob:x\n\nbob:\(other)\nalice:\(hash)\n"
        ),
        ("bobby:\(hash)\n  bob:\(hash)", "bobby:\(hash)\nbob:\(other)\n"),
    ]

    @Test("takes a new line, or one in the place of another", arguments: edits)
    func isEdited(before: String, after: String) throws {
        #expect(try Self.edit(before, "bob") == after)
        #expect(try Self.edit(after, "bob") == after)
    }

    @Test("that is wrong is not edited")
    func wrongStays() {
        #expect(throws: UserList.Failure.self) { try Self.edit("alice\n", "bob") }
    }
}
