import Compression
import Linux

/// The bytes of a capture file, which are decompressed if the file is a gzip file.
///
/// It holds what `fill` was asked for, and some 256 KiB more. What is skipped is not held.
struct CaptureInput: ~Copyable {
    private let descriptor: Descriptor
    /// The file's path, or `"standard input"`.
    let name: String
    private var buffer: [UInt8] = []
    private var start = 0
    private var decoder: GzipDecoder?
    /// Bytes of a gzip file that have not been decoded yet.
    private var compressed: [UInt8] = []
    /// Whether something else than gzip data follows the last of them.
    private var hasPadding = false
    /// Whether the file ended in the middle of what was asked for, or of gzip data.
    private(set) var isCutShort = false

    private static let readByteCount = 256 << 10
    private static let compressedReadByteCount = 64 << 10

    /// Opens the file, or takes standard input for `"-"`.
    init(path: String) throws(SystemError) {
        descriptor =
            try path == "-" ? Descriptor(duplicatingStandardInput: ()) : Descriptor(reading: path)
        name = path == "-" ? "standard input" : path
    }

    /// Finds out by the first bytes whether the file is a gzip file.
    ///
    /// Its name says nothing where it is a pipe.
    mutating func begin() throws(CaptureReader.Failure) {
        let magic = GzipDecoder.magic
        guard try fill(magic.count), buffer.starts(with: magic) else {
            isCutShort = false
            return
        }
        swap(&buffer, &compressed)
        do throws(GzipDecoder.Failure) {
            decoder = try GzipDecoder()
        } catch {
            throw .malformed(path: name, reason: "\(error)")
        }
    }

    /// Reads until there are as many bytes to look at as asked for.
    ///
    /// - Returns: False if the file ends before.
    mutating func fill(_ byteCount: Int) throws(CaptureReader.Failure) -> Bool {
        if start > Self.readByteCount {
            buffer.removeFirst(start)
            start = 0
        }
        while buffer.count - start < byteCount {
            guard try read() else {
                if buffer.count > start { isCutShort = true }
                return false
            }
        }
        return true
    }

    /// Passes over bytes without holding them.
    ///
    /// - Returns: False if the file ends before.
    mutating func skip(_ byteCount: Int) throws(CaptureReader.Failure) -> Bool {
        var rest = byteCount
        while true {
            let count = min(rest, buffer.count - start)
            start += count
            rest -= count
            guard rest > 0 else { return true }
            buffer.removeAll(keepingCapacity: true)
            start = 0
            guard try read() else {
                isCutShort = true
                return false
            }
        }
    }

    /// The bytes that `fill` has read, of which `range` counts from the first that was not skipped.
    func bytes(_ range: Range<Int>) -> ArraySlice<UInt8> {
        buffer[start + range.lowerBound..<start + range.upperBound]
    }

    /// Reads more into the buffer.
    ///
    /// - Returns: False at the end of the file.
    private mutating func read() throws(CaptureReader.Failure) -> Bool {
        guard let decoder else {
            return try Self.read(descriptor, name, Self.readByteCount, to: &buffer)
        }
        let count = buffer.count
        while !hasPadding {
            if compressed.isEmpty {
                let hasMore = try Self.read(
                    descriptor, name, Self.compressedReadByteCount, to: &compressed)
                guard hasMore else {
                    if !decoder.isAtMemberEnd { isCutShort = true }
                    return false
                }
            }
            do throws(GzipDecoder.Failure) {
                try decode(decoder)
            } catch {
                throw .malformed(path: name, reason: "\(error)")
            }
            if buffer.count > count { return true }
        }
        return false
    }

    private static func read(
        _ descriptor: borrowing Descriptor, _ name: String, _ byteCount: Int,
        to bytes: inout [UInt8]
    ) throws(CaptureReader.Failure) -> Bool {
        do throws(SystemError) {
            return try descriptor.read(byteCount, to: &bytes, name)
        } catch {
            throw .system(error)
        }
    }

    /// Decodes some of the bytes that have been read.
    private mutating func decode(_ decoder: GzipDecoder) throws(GzipDecoder.Failure) {
        if decoder.isAtMemberEnd {
            // What is no other member is padding, as gzip(1) has it.
            hasPadding = compressed[0] != GzipDecoder.magic[0]
            guard !hasPadding else { return }
            try decoder.beginMember()
        }
        let taken = try decoder.decode(
            compressed[...], to: &buffer, byteCountMax: Self.readByteCount)
        compressed.removeFirst(taken)
    }
}
