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

/// What a symbolic link says, which need not be a path (readlink(2)): `"socket:[4711]"`, as the links in
/// /proc have it. Of a long one the first 4096 bytes.
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
