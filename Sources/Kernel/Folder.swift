import Glibc

/// The names of what is in a folder, in no order (readdir(3)). Waits for the disk.
package func fileNames(in folder: String) throws(SystemError) -> [String] {
    guard let stream = unsafe opendir(folder) else { throw SystemError("open \(folder)") }
    defer { unsafe _ = closedir(stream) }
    var names: [String] = []
    // Safety: the stream is open, and an entry is valid until the next call.
    while let entry = unsafe readdir(stream) {
        let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        names.append(name)
    }
    return names
}
