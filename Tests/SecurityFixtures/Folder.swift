import Glibc
import Linux
import Synchronization

/// A folder that no other test has, which is deleted with its files.
package final class Folder: Sendable {
    package let path: String
    private let names = Mutex<Set<String>>([])

    package init() throws {
        path = "/tmp/podwire-test-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        try call("mkdir \(path)") { unsafe mkdir(path, 0o700) }
    }

    deinit {
        for name in names.withLock({ $0 }) { unsafe _ = unlink("\(path)/\(name)") }
        unsafe _ = rmdir(path)
    }

    /// The path of a file in it, which need not exist.
    package func file(_ name: String) -> String {
        names.withLock { _ = $0.insert(name) }
        return "\(path)/\(name)"
    }

    /// Writes a file, or puts another in its place, and returns its path.
    @discardableResult
    package func put(_ text: String, _ name: String) throws -> String {
        let file = file(name)
        try FileEdit(of: file).replace(with: Array(text.utf8))
        return file
    }
}

/// Returns the text in a file.
package func text(of path: String) throws -> String {
    String(decoding: try readFile(path, byteCountMax: 1 << 20), as: UTF8.self)
}
