import Glibc

/// A file that is being changed as a whole: whoever reads it sees all of the old or all of the new.
///
/// Two edits in one folder wait for each other, so none undoes the other's.
package struct FileEdit: ~Copyable {
    private let path: String
    private let folder: Descriptor

    /// Begins to change a file, which need not exist yet; its folder has to. Waits until others have
    /// finished theirs.
    package init(of path: String) throws(SystemError) {
        // A link stays a link, and the file that it leads to is the one replaced.
        let path = Self.target(of: path)
        let name = Self.folder(of: path)
        let folder = try Descriptor("open \(name)") {
            unsafe open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        }
        try call("lock \(name)") { flock(folder.fileDescriptor, LOCK_EX) }
        self.path = path
        self.folder = folder
    }

    /// What is in the file; nothing if there is none. Throws `EFBIG` for more than so many bytes.
    package func read(byteCountMax: Int) throws(SystemError) -> [UInt8] {
        do throws(SystemError) {
            return try readFile(path, byteCountMax: byteCountMax)
        } catch {
            guard error.code == ENOENT else { throw error }
            return []
        }
    }

    /// Puts the bytes into the place of the file, for its owner's eyes only. Waits for the disk; if
    /// anything fails the old file is still there.
    package consuming func replace(with bytes: [UInt8]) throws(SystemError) {
        let draft = "\(path).\(getpid()).new"
        // Left over from a process of the same number that was killed half-way.
        unsafe _ = unlink(draft)
        do throws(SystemError) {
            let file = try Descriptor("create \(draft)") {
                unsafe open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            }
            keepOwner(file.fileDescriptor)
            try writeAll(bytes, to: file.fileDescriptor, draft)
            try call("fsync \(draft)") { fsync(file.fileDescriptor) }
            try call("rename \(draft) to \(path)") { unsafe rename(draft, path) }
        } catch {
            unsafe _ = unlink(draft)
            throw error
        }
        // So that the new name outlives a power cut, too.
        try call("fsync the folder of \(path)") { fsync(folder.fileDescriptor) }
    }

    /// Root may edit a file that belongs to the user an agent runs as, and it has to stay readable.
    private func keepOwner(_ fileDescriptor: CInt) {
        var status = stat()
        // Safety: the call fills `status` and reads the path up to its end.
        guard unsafe stat(path, &status) == 0 else { return }
        // Others than root have no choice.
        _ = fchown(fileDescriptor, status.st_uid, status.st_gid)
    }

    private static func target(of path: String) -> String {
        // Safety: the answer is a text of its own, to be freed by the caller; null where there is
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
