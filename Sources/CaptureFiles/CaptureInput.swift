import Compression
import Linux

/// The bytes of a capture file, which are decompressed if the file is a gzip file.
///
/// It holds what `fill` was asked for, and a read more. What is skipped is not held.
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
    /// What is wrong with the gzip data behind those that have been decoded.
    private var failure: CaptureReader.Failure?
    /// Whether the file ended in the middle of what was asked for, or of gzip data.
    private(set) var isCutShort = false

    /// The bytes that are read, or decompressed, at once.
    private let readByteCount: Int
    private static let compressedReadByteCount = 64 << 10

    /// Opens the file, or takes standard input for `"-"`.
    init(path: String, readByteCount: Int) throws(SystemError) {
        descriptor =
            try path == "-" ? Descriptor(duplicatingStandardInput: ()) : Descriptor(reading: path)
        name = path == "-" ? "standard input" : path
        self.readByteCount = readByteCount
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
        if start > readByteCount {
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
            return try Self.read(descriptor, name, readByteCount, to: &buffer)
        }
        if let failure { throw failure }
        let count = buffer.count
        var isAtEnd = false
        while !hasPadding, !isAtEnd {
            if compressed.isEmpty {
                isAtEnd = try !Self.read(
                    descriptor, name, min(readByteCount, Self.compressedReadByteCount),
                    to: &compressed)
                if isAtEnd, decoder.isAtMemberEnd { return false }
            }
            // At the end of a file that is cut, the decoder has what there was no room for before.
            do throws(GzipDecoder.Failure) {
                try decode(decoder)
            } catch {
                // What was decoded before the damage is as good as what came before it.
                let failure = CaptureReader.Failure.malformed(path: name, reason: "\(error)")
                guard buffer.count > count else { throw failure }
                self.failure = failure
            }
            if buffer.count > count { return true }
        }
        if isAtEnd { isCutShort = true }
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
            compressed[...], to: &buffer, byteCountMax: readByteCount)
        compressed.removeFirst(taken)
    }
}
