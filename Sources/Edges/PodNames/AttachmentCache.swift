package import Linux

import Glibc

/// The attachments in a folder of libcni's cache. A file is read once, and again when it has changed.
package struct AttachmentCache {
    private let folder: String
    private var files: [String: File] = [:]

    private struct File {
        let stamp: FileStamp
        /// Nil if there is no pod's name in it, or it cannot be read.
        let attachment: CachedAttachment?
    }

    /// Runtimes leave files behind when they crash; of more than this some are not looked at.
    private static let nameCountMax = 65_536
    /// The newest are read: a node has 250 pods, as a rule, and each a few networks.
    private static let fileCountMax = 4096
    /// The plug-ins' configuration is in it, too; that is some kilobytes.
    private static let fileByteCountMax = 256 << 10

    package init(folder: String) { self.folder = folder }

    /// What is in the folder now. Throws if it is not there or cannot be read. Waits for the disk.
    package mutating func read() throws(SystemError) -> [(
        attachment: CachedAttachment, writtenAt: UInt64
    )] {
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
            file.attachment.map { ($0, file.stamp.writtenNanoseconds) }
        }
    }
}
