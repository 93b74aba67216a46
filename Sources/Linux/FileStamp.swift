import CLinux
import Glibc

/// The identity and times of a file, which differ when it is written or replaced (stat(2)).
///
/// A symbolic link is followed, so one that points elsewhere counts as a change. Kubernetes brings
/// new versions of a mounted secret in this way.
package struct FileStamp: Equatable, Sendable {
    private let device: UInt64
    private let inode: UInt64
    private let byteCount: Int64
    private let modifiedSeconds: Int
    private let modifiedNanosecondsPart: Int
    private let changedSeconds: Int
    private let changedNanoseconds: Int

    /// The time when the content was last written, in seconds since 1970.
    package var writtenSeconds: Int { modifiedSeconds }

    /// The time when the content was last written, in nanoseconds since 1970.
    ///
    /// Owners can give their files any time; one that is out of range becomes the nearest in range.
    package var writtenNanoseconds: UInt64 {
        let second: UInt64 = 1_000_000_000
        let seconds = min(UInt64(max(0, modifiedSeconds)), .max / second - 1)
        return seconds * second + UInt64(max(0, modifiedNanosecondsPart))
    }

    /// The permissions: the last nine bits of chmod(2)'s mode.
    package let permissions: UInt32
    /// Whether it is a regular file, and no folder, pipe, device or socket.
    package let isRegularFile: Bool

    /// Looks at a file.
    ///
    /// - Throws: `ENOENT` or `EACCES` if the file does not exist or may not be looked at.
    package init(of path: String) throws(SystemError) {
        var status = stat()
        // Safety: the call fills `status` and reads the path up to its end.
        try call("stat \(path)") { unsafe stat(path, &status) }
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        byteCount = Int64(status.st_size)
        (modifiedSeconds, modifiedNanosecondsPart) = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
        (changedSeconds, changedNanoseconds) = (status.st_ctim.tv_sec, status.st_ctim.tv_nsec)
        permissions = UInt32(status.st_mode) & 0o777
        isRegularFile = status.st_mode & S_IFMT == S_IFREG
    }
}
