import Glibc
package import Linux

/// An attachment from the cache, and when its file was written.
package struct AttachmentFile: Sendable {
    /// What the file says.
    package let attachment: CachedAttachment
    /// When the file was written, in nanoseconds since 1970.
    package let writtenAt: UInt64

    /// A file by its parts.
    package init(_ attachment: CachedAttachment, writtenAt: UInt64) {
        (self.attachment, self.writtenAt) = (attachment, writtenAt)
    }
}

/// The attachments in a folder of libcni's cache.
///
/// A file is read once, and again when it has changed.
package struct AttachmentCache {
    private let folder: String
    private var files: [String: File] = [:]

    private struct File {
        let stamp: FileStamp
        /// Nil if there is no pod's name in the file, or it cannot be read.
        let attachment: CachedAttachment?
    }

    /// The most names that are listed: runtimes leave files behind when they crash.
    private static let nameCountMax = 65_536
    /// The most files that are read, the newest first: most nodes have at most 250 pods, and each
    /// pod has a few networks.
    private static let fileCountMax = 4096
    /// The most that is read of a file, whose plug-in configuration has some kilobytes.
    private static let fileByteCountMax = 256 << 10

    /// A cache of which nothing has been read.
    package init(folder: String) { self.folder = folder }

    /// Reads what is in the folder now, and waits for the disk.
    ///
    /// - Throws: The reason why the folder cannot be read.
    package mutating func read() throws(SystemError) -> [AttachmentFile] {
        var stamps: [(name: String, stamp: FileStamp)] = []
        for name in try fileNames(in: folder).prefix(Self.nameCountMax) {
            guard let stamp = try? FileStamp(of: "\(folder)/\(name)"), stamp.isRegularFile else {
                continue
            }
            stamps.append((name, stamp))
        }
        stamps.sort { $0.stamp.writtenNanoseconds > $1.stamp.writtenNanoseconds }
        let before = files
        files = [:]
        for (name, stamp) in stamps.prefix(Self.fileCountMax) {
            if let file = before[name], file.stamp == stamp {
                files[name] = file
            } else {
                let bytes = try? readFile(
                    "\(folder)/\(name)", byteCountMax: Self.fileByteCountMax)
                files[name] = File(stamp: stamp, attachment: bytes.flatMap { CachedAttachment($0) })
            }
        }
        return files.values.compactMap { file in
            file.attachment.map {
                AttachmentFile($0, writtenAt: file.stamp.writtenNanoseconds)
            }
        }
    }
}
