import Glibc

extension Descriptor {
    /// Opens a file to be read.
    ///
    /// - Parameters:
    ///   - path: The file's path.
    ///   - waits: Whether opening a pipe waits for a process that writes to it.
    /// - Throws: The kernel's reason if the file cannot be opened.
    package init(reading path: String, waits: Bool = true) throws(SystemError) {
        let flags = O_RDONLY | O_CLOEXEC | (waits ? 0 : O_NONBLOCK)
        try self.init("open \(path)") { unsafe open(path, flags) }
    }

    /// Creates a file that only its owner can read, or empties the one that is there.
    ///
    /// A file that is there keeps its owner and its mode.
    package init(creating path: String) throws(SystemError) {
        var isNew = false
        try self.init(creating: path, isNew: &isNew)
    }

    /// Creates a file as `init(creating:)` does, and says whether there was none.
    package init(creating path: String, isNew: inout Bool) throws(SystemError) {
        let flags = O_WRONLY | O_CREAT | O_CLOEXEC
        let fileDescriptor: CInt
        do throws(SystemError) {
            fileDescriptor = try call("create \(path)") {
                unsafe open(path, flags | O_EXCL, privateMode)
            }
            isNew = true
        } catch {
            guard error.errno == .fileExists else { throw error }
            fileDescriptor = try call("create \(path)") {
                unsafe open(path, flags | O_TRUNC, privateMode)
            }
            isNew = false
        }
        try self.init("create \(path)") { fileDescriptor }
    }

    /// Creates a file that only its owner can read.
    ///
    /// - Throws: `EEXIST` if there is anything of that name, even a symbolic link that leads nowhere.
    package init(creatingNew path: String) throws(SystemError) {
        try self.init("create \(path)") {
            unsafe open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_EXCL, privateMode)
        }
    }

    /// Opens a folder that only the user of this process may change, which is then worth to be believed.
    ///
    /// - Throws: `EPERM` if others may change it, and the kernel's reason if it is no folder, or a
    ///   symbolic link to one.
    package static func ownFolder(_ path: String) throws(SystemError) -> Descriptor {
        let folder = try Descriptor("open the folder \(path)") {
            unsafe open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        }
        var status = stat()
        // Safety: fstat(2) writes one `stat`.
        try call("fstat \(path)") { unsafe fstat(folder.fileDescriptor, &status) }
        guard status.st_uid == geteuid(), status.st_mode & (S_IWGRP | S_IWOTH) == 0 else {
            throw SystemError(
                "use the folder \(path), which another user owns or may write to: remove it, or take "
                    + "another folder", .notPermitted)
        }
        return folder
    }

    /// Opens a file that only its owner can read, or creates it, and locks it until it is closed.
    ///
    /// - Throws: `EWOULDBLOCK` if another process, or another descriptor, has locked it.
    package static func locking(_ path: String) throws(SystemError) -> Descriptor {
        let file = try Descriptor("lock \(path)") {
            unsafe open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, privateMode)
        }
        try call("lock \(path)") { flock(file.fileDescriptor, LOCK_EX | LOCK_NB) }
        return file
    }

    /// Duplicates the descriptor of standard input.
    package init(duplicatingStandardInput: Void) throws(SystemError) {
        try self.init("dup of standard input") { dup(STDIN_FILENO) }
    }

    /// Duplicates the descriptor of standard output.
    package init(duplicatingStandardOutput: Void) throws(SystemError) {
        try self.init("dup of standard output") { dup(STDOUT_FILENO) }
    }

    /// Reads some bytes and appends them to an array.
    ///
    /// Waits for a disk or for a pipe's writer.
    ///
    /// - Returns: False at the end of the file.
    package func read(
        _ byteCountMax: Int, to bytes: inout [UInt8], _ name: @autoclosure () -> String
    ) throws(SystemError) -> Bool {
        let end = bytes.count
        bytes += [UInt8](repeating: 0, count: byteCountMax)
        var readCount = 0
        defer { bytes.removeLast(byteCountMax - readCount) }
        // Safety: the call writes at most the bytes that have just been appended.
        readCount = try call("read \(name())") {
            unsafe bytes.withUnsafeMutableBytes {
                unsafe Glibc.read(fileDescriptor, $0.baseAddress! + end, byteCountMax)
            }
        }
        return readCount > 0
    }
}

extension Descriptor {
    /// Cuts a file to a length, and writes on from there; does nothing to a pipe or a device.
    package func cut(to byteCount: UInt64) {
        let end = off_t(clamping: byteCount)
        // What has no length keeps what it has.
        guard ftruncate(fileDescriptor, end) == 0 else { return }
        _ = lseek(fileDescriptor, end, SEEK_SET)
    }
}

/// Reads a whole file.
///
/// Waits for the disk, but for no other process.
///
/// If the path is a pipe, perhaps since a moment ago, it reads what is in the pipe.
///
/// - Throws: `EFBIG` if the file is longer than `byteCountMax`.
package func readFile(_ path: String, byteCountMax: Int) throws(SystemError) -> [UInt8] {
    let file = try Descriptor(reading: path, waits: false)
    var bytes: [UInt8] = []
    while try file.read(min(byteCountMax + 1 - bytes.count, 1 << 16), to: &bytes, path) {
        guard bytes.count <= byteCountMax else { throw SystemError("read \(path)", .fileTooLarge) }
    }
    return bytes
}

/// Writes all of the bytes.
///
/// Waits for a disk or for a pipe's reader.
package func writeAll(
    _ bytes: some Collection<UInt8>, to fileDescriptor: CInt, _ name: @autoclosure () -> String
) throws(SystemError) {
    var rest = Array(bytes)[...]
    while !rest.isEmpty {
        rest = rest.dropFirst(try writeSome(rest, to: fileDescriptor, name()))
    }
}

/// Writes as many of the bytes as the kernel takes at once.
///
/// Waits like `writeAll`.
///
/// - Returns: The number of bytes written.
package func writeSome(
    _ bytes: ArraySlice<UInt8>, to fileDescriptor: CInt, _ name: @autoclosure () -> String
) throws(SystemError) -> Int {
    // Safety: the call reads only the slice's bytes.
    try call("write \(name())") {
        unsafe bytes.withUnsafeBytes { unsafe write(fileDescriptor, $0.baseAddress, $0.count) }
    }
}

/// Whether the descriptor is a terminal, which a person is likely to read.
package func isTerminal(_ fileDescriptor: CInt) -> Bool { isatty(fileDescriptor) == 1 }

/// Whether the descriptor is a pipe or a socket, which another program has the other end of.
package func isPipe(_ fileDescriptor: CInt) -> Bool {
    var status = stat()
    // Safety: fstat(2) writes one `stat`.
    guard unsafe fstat(fileDescriptor, &status) == 0 else { return false }
    return [S_IFIFO, S_IFSOCK].contains(status.st_mode & S_IFMT)
}

/// Whether nothing is at a path, neither something that this process may not use nor a link to nowhere.
package func isAbsent(_ path: String) -> Bool {
    var status = stat()
    // Safety: the call writes one `stat`, and reads the path up to its end.
    return unsafe lstat(path, &status) != 0 && Errno.current == .noSuchFileOrDirectory
}

/// Makes a folder, unless it is there.
package func makeFolder(_ path: String, mode: UInt32 = 0o755) throws(SystemError) {
    do throws(SystemError) {
        try call("make the folder \(path)") { unsafe mkdir(path, mode) }
    } catch {
        guard error.errno == .fileExists else { throw error }
    }
}

/// The mode of files with packets, addresses or names: nobody but the owner reads them.
private let privateMode: mode_t = 0o600

/// Replaces a file: its readers see all of the old content or all of the new.
///
/// Only the owner can read a new file. One that replaces another keeps its owner and its mode. Does
/// not wait for the disk, so a power cut may leave either or neither.
///
/// - Throws: The kernel's reason, and if there is something else than a file, such as a device.
package func replaceFile(_ path: String, with bytes: [UInt8]) throws(SystemError) {
    var status = stat()
    // Safety: lstat(2) writes one `stat`.
    let isThere = unsafe lstat(path, &status) == 0
    if isThere, status.st_mode & S_IFMT != S_IFREG {
        throw SystemError("replace \(path), which is no regular file", .invalidArgument)
    }
    try putFile(at: path, mode: privateMode) { file, draft throws(SystemError) in
        try writeAll(bytes, to: file, draft)
        guard isThere else { return }
        // Only root can give a file away. A mode that was meant for a group must not be another's.
        if fchown(file, status.st_uid, status.st_gid) == 0 || status.st_gid == getegid() {
            _ = fchmod(file, status.st_mode & 0o777)
        }
    }
}

/// Puts a new file at a path in one step, in the place of one that may be there.
///
/// - Parameters:
///   - path: The path.
///   - mode: Who may do what with the file.
///   - fill: Fills the file, by its descriptor and the name that it has until then.
/// - Throws: The kernel's reason, or that of `fill`; the old file is still there then.
func putFile(
    at path: String, mode: mode_t, _ fill: (CInt, String) throws(SystemError) -> Void
) throws(SystemError) {
    let draft = "\(path).\(getpid()).new"
    // A process with the same id may have been killed half-way.
    unsafe _ = unlink(draft)
    do throws(SystemError) {
        let file = try Descriptor("create \(draft)") {
            unsafe open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        }
        try fill(file.fileDescriptor, draft)
        try call("rename \(draft) to \(path)") { unsafe rename(draft, path) }
    } catch {
        unsafe _ = unlink(draft)
        throw error
    }
}

/// Removes a file's name.
///
/// The content is freed when no process has the file open any more.
package func removeFile(_ path: String) throws(SystemError) {
    try call("remove \(path)") { unsafe unlink(path) }
}

/// Lists the names of the files in a folder, in no order (readdir(3)).
///
/// Waits for the disk.
package func fileNames(in folder: String) throws(SystemError) -> [String] {
    guard let stream = unsafe opendir(folder) else { throw SystemError("open \(folder)") }
    defer { unsafe _ = closedir(stream) }
    var names: [String] = []
    while true {
        // The end of the folder leaves this as it is, and a failure does not.
        errno = 0
        // Safety: the stream is open, and an entry is valid until the next call.
        guard let entry = unsafe readdir(stream) else { break }
        let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        names.append(name)
    }
    guard errno == 0 else { throw SystemError("readdir \(folder)") }
    return names
}

/// Reads the text of a symbolic link (readlink(2)), up to 4,096 bytes.
///
/// The text need not be a path: links in /proc are like `"socket:[4711]"`.
package func linkTarget(_ path: String) throws(SystemError) -> String {
    var bytes = [UInt8](repeating: 0, count: 4096)
    // Safety: the call writes no more bytes than there are.
    let count = try call("readlink \(path)") {
        unsafe bytes.withUnsafeMutableBytes { bytes in
            unsafe readlink(
                path, bytes.baseAddress!.assumingMemoryBound(to: CChar.self), bytes.count)
        }
    }
    return String(decoding: bytes[..<count], as: UTF8.self)
}
