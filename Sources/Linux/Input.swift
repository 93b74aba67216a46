import Glibc

extension Descriptor {
    /// Opens a file to be read. Waits for whoever writes a pipe, unless it is not to.
    package init(reading path: String, waits: Bool = true) throws(SystemError) {
        let flags = O_RDONLY | O_CLOEXEC | (waits ? 0 : O_NONBLOCK)
        try self.init("open \(path)") { unsafe open(path, flags) }
    }

    /// Reads what there is, at most so many bytes, to the end of an array. Answers false at the end of
    /// the file. Waits for a disk, or for whoever writes a pipe.
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

/// All of a file; throws `EFBIG` if it has more than so many bytes. Waits for the disk, and for nobody
/// else: of a pipe it reads what is there, be it put into a file's place at the last moment.
package func readFile(_ path: String, byteCountMax: Int) throws(SystemError) -> [UInt8] {
    let file = try Descriptor(reading: path, waits: false)
    var bytes: [UInt8] = []
    while try file.read(min(byteCountMax + 1 - bytes.count, 1 << 16), to: &bytes, path) {
        guard bytes.count <= byteCountMax else { throw SystemError("read \(path)", EFBIG) }
    }
    return bytes
}
