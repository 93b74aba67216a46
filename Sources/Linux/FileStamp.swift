import Glibc

/// What tells that a file has been written or replaced since it was looked at last (stat(2)).
///
/// A symbolic link is followed, so a link that points elsewhere counts as a change: that is how
/// Kubernetes brings new versions of a mounted secret.
package struct FileStamp: Equatable, Sendable {
    private let device: UInt64
    private let inode: UInt64
    private let byteCount: Int64
    private let modifiedSeconds: Int
    private let modifiedNanosecondsPart: Int
    private let changedSeconds: Int
    private let changedNanoseconds: Int

    /// When its content was written last, in seconds since 1970.
    package var writtenSeconds: Int { modifiedSeconds }

    /// The same in nanoseconds, on the node's clock; as far off as the number goes where a file says more,
    /// since anybody can give their files any time.
    package var writtenNanoseconds: UInt64 {
        let second: UInt64 = 1_000_000_000
        let seconds = min(UInt64(max(0, modifiedSeconds)), .max / second - 1)
        return seconds * second + UInt64(max(0, modifiedNanosecondsPart))
    }

    /// Who may do what with it: the last nine bits of chmod(2)'s mode.
    package let permissions: UInt32
    /// Whether it is neither folder, pipe, device nor socket.
    package let isRegularFile: Bool

    /// Throws where there is no such file, or none that may be looked at.
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
