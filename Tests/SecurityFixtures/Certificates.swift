import Glibc
import Linux

/// Authorities and certificates that live as long as a test, made by the openssl command.
package enum Certificates {
    /// Makes a folder with `ca.pem`, `stranger.pem` and what they have signed.
    package static func make() throws -> Folder {
        let folder = try Folder()
        try authority("ca", in: folder)
        try authority("stranger", in: folder)
        try sign("agent", by: "ca", for: "DNS:agent.test,IP:127.0.0.1,IP:::1", in: folder)
        return folder
    }

    package static func authority(_ name: String, in folder: Folder) throws {
        try request(name, ["-subj", "/CN=\(name)"], in: folder)
    }

    /// Makes `NAME.pem`, the server's certificate and its authority's, and `NAME.key`.
    package static func sign(
        _ name: String, by authority: String, for alternatives: String, in folder: Folder
    ) throws {
        try request(
            name,
            [
                "-subj", "/CN=\(name)", "-CA", folder.file("\(authority).pem"),
                "-CAkey", folder.file("\(authority).key"),
                "-addext", "subjectAltName=\(alternatives)",
                "-addext", "basicConstraints=critical,CA:FALSE",
            ], in: folder)
    }

    private static func request(_ name: String, _ more: [String], in folder: Folder) throws {
        try openssl(
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-days", "2", "-keyout", folder.file("\(name).key"),
                "-out", folder.file("\(name).pem"),
            ] + more)
    }

    /// Runs the openssl command, and throws if it fails.
    package static func openssl(_ arguments: [String]) throws {
        // Safety: the copies live until the call has read them, and the list ends with null.
        var words = unsafe (["openssl"] + arguments).map { unsafe strdup($0) } + [nil]
        defer { for index in unsafe words.indices { unsafe free(words[index]) } }
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe _ = posix_spawn_file_actions_init(&actions)
        defer { unsafe _ = posix_spawn_file_actions_destroy(&actions) }
        unsafe _ = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        unsafe _ = posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        unsafe _ = posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var process = pid_t()
        let code = unsafe posix_spawnp(&process, "openssl", &actions, nil, &words, environ)
        guard code == 0 else {
            throw SystemError("openssl, of the package of that name", Errno(rawValue: code))
        }
        var status: CInt = 0
        try call("waitpid") { unsafe waitpid(process, &status, 0) }
        guard status == 0 else { throw OpenSSLFailed(arguments: arguments) }
    }
}

/// An openssl command that failed.
package struct OpenSSLFailed: Error {
    package let arguments: [String]
}
