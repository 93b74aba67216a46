import ArgumentParser
import Glibc
import Linux
import Security

/// `podwire password`: hashes a password.
struct PasswordCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "password",
        abstract: "Hashes a user's password for the file of users who may log in.",
        discussion: """
            At a terminal it asks for the password twice, and does not show what is typed. Elsewhere \
            it reads one line from standard input. It prints a line for the file of users: NAME:HASH. \
            With --file it puts the line into the file, which only its owner can read afterwards. An \
            agent that uses the file notices the change. Three examples:

              podwire password sensor --file users
              podwire password sensor >> users
              printf %s "$PASSWORD" | podwire password sensor --file users

            Lines of the file that begin with # are comments. To remove a user, delete the line.

            Exit code 64: the name, the password or the file cannot be used. 71: the system refuses \
            something. 73: the file cannot be written.
            """)

    @Argument(help: "The user's name, without colons.")
    var name: String

    @Option(
        help: ArgumentHelp(
            "The file of users to put the line into. It is created if it does not exist.",
            valueName: "FILE"),
        completion: .file())
    var file: String?

    /// The longest password: longer than people use, and short enough for a login message.
    private static let byteCountMax = 1024

    func validate() throws {
        if let fault = UserList.fault(ofName: name) { throw ValidationError(fault) }
    }

    func run() throws {
        do {
            let hash = try PasswordHash(of: readPassword())
            guard let file else { return try writeToStandardOutput("\(name):\(hash)\n") }
            try put(hash, into: file)
            printMessage("\(file) has the new password of \(name)")
        } catch let code as ExitCode {
            throw code
        } catch {
            throw fail("\(error)", Exit.systemError)
        }
    }

    private func readPassword() throws -> [UInt8] {
        let prompt = PasswordPrompt(byteCountMax: Self.byteCountMax)
        let password: [UInt8]
        if isTerminal(STDIN_FILENO) {
            let answers = try prompt.ask(["Password for \(name): ", "The same once more: "])
            guard answers[0] == answers[1] else {
                throw fail("these were two different passwords", Exit.usage)
            }
            password = answers[0]
        } else {
            password = try prompt.readLine()
        }
        guard !password.isEmpty else { throw fail("there is no password", Exit.usage) }
        guard password.count <= Self.byteCountMax else {
            throw fail("a password has at most \(Self.byteCountMax) bytes", Exit.usage)
        }
        return password
    }

    private func put(_ hash: PasswordHash, into file: String) throws {
        do {
            let edit = try FileEdit(of: file)
            let text = try edit.read(byteCountMax: UserList.byteCountMax)
            try edit.replace(with: UserList.text(text, setting: hash, of: name))
        } catch let failure as UserList.Failure {
            throw fail("\(file), \(failure)", Exit.usage)
        } catch {
            throw fail("\(error)", Exit.cannotCreate)
        }
    }

    private func fail(_ text: String, _ code: ExitCode) -> ExitCode {
        printMessage(of: "password", text)
        return code
    }
}
