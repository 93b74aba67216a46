import Glibc

/// An atomic change of a file: its readers see all of the old content or all of the new.
///
/// Two edits in one folder wait for each other, so none undoes the other's.
package struct FileEdit: ~Copyable {
    private let path: String
    private let folder: Descriptor

    /// Locks the folder of a file, which must exist; the file need not.
    ///
    /// Waits until the edits of others in this folder are finished.
    package init(of path: String) throws(SystemError) {
        // A symbolic link stays, and the file that it leads to is replaced.
        let path = Self.target(of: path)
        let name = Self.folder(of: path)
        let folder = try Descriptor("open \(name)") {
            unsafe open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        }
        try call("lock \(name)") { flock(folder.fileDescriptor, LOCK_EX) }
        self.path = path
        self.folder = folder
    }

    /// Reads the file's content, which is empty if there is no file.
    ///
    /// - Throws: `EFBIG` if the file is longer than `byteCountMax`.
    package func read(byteCountMax: Int) throws(SystemError) -> [UInt8] {
        do throws(SystemError) {
            return try readFile(path, byteCountMax: byteCountMax)
        } catch {
            guard error.errno == .noSuchFileOrDirectory else { throw error }
            return []
        }
    }

    /// Replaces the file by one that only its owner can read.
    ///
    /// Waits for the disk. If anything fails the old file is still there.
    package consuming func replace(with bytes: [UInt8]) throws(SystemError) {
        try putFile(at: path, mode: 0o600) { file, draft throws(SystemError) in
            keepOwner(file)
            try writeAll(bytes, to: file, draft)
            try call("fsync \(draft)") { fsync(file) }
        }
        // Otherwise a power cut could undo the renaming.
        try call("fsync the folder of \(path)") { fsync(folder.fileDescriptor) }
    }

    /// Root may edit a file of the user that the agent runs as, who must still be able to read it.
    private func keepOwner(_ fileDescriptor: CInt) {
        var status = stat()
        // Safety: the call fills `status` and reads the path up to its end.
        guard unsafe stat(path, &status) == 0 else { return }
        // Only root can change the owner; for others it is the right one already.
        _ = fchown(fileDescriptor, status.st_uid, status.st_gid)
    }

    private static func target(of path: String) -> String {
        // Safety: the result is a text of its own, to be freed by the caller, or null if there is
        // no such file.
        guard let real = unsafe realpath(path, nil) else { return path }
        defer { unsafe free(real) }
        return unsafe String(cString: real)
    }

    private static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
