import Addressing
import CaptureFiles
import Compression
import Glibc
import Linux

/// Capture files of any kind: pcap and pcapng, plain and compressed.
///
/// The same is found whatever is read at once. Frames that are found are written to a file of ours,
/// and found there again. Compressed bytes become the same content in pieces of any size.
enum CapturesTarget {
    static let target = FuzzTarget(
        "captures", "capture files: pcap, pcapng, and both with gzip", byteCountMax: 16_384, check)

    /// A file in memory that a call writes and reads; each process has its own.
    private static let path = "/dev/shm/podwire-fuzz-\(getpid())"
    /// The most that deflated data become, by zlib's technical details: 1,032 times, and a little.
    private static let growthMax = 1040

    /// The latest time of a frame, in 2262.
    ///
    /// The rule counts on times from which seconds can be added.
    static let nanosecondsMax = UInt64(Int64.max)

    private static func check(_ bytes: [UInt8]) throws(BrokenLaw) {
        defer { try? removeFile(path) }
        let isCompressed = bytes.starts(with: GzipDecoder.magic)
        let (frames, failure) = try read(bytes, readByteCount: 4096)
        let other = try read(bytes, readByteCount: 48)
        try require(
            other.frames == frames && other.1 == failure,
            "\(frames.count) frames, \(String(describing: failure)), but read in small parts "
                + "\(other.frames.count), \(String(describing: other.1))")
        // Each has a record, or a block, of its own.
        let byteCount = frames.reduce(0) { $0 + 16 + $1.bytes.count }
        try require(
            byteCount <= (isCompressed ? growthMax : 1) * (bytes.count + 1),
            "\(frames.count) frames of \(byteCount) bytes")
        for frame in frames {
            try require(frame.nanoseconds <= nanosecondsMax, "a frame at \(frame.nanoseconds)")
        }
        if case .malformed(_, let reason) = failure {
            try require(isPrintable(reason), "fails with \(reason)")
        }
        try checkWriting(frames)
        if isCompressed { try checkPieces(bytes) }
    }

    private static func read(
        _ bytes: [UInt8], readByteCount: Int
    ) throws(BrokenLaw) -> (frames: [CaptureReader.Frame], CaptureReader.Failure?) {
        var frames: [CaptureReader.Frame] = []
        do throws(SystemError) {
            let file = try Descriptor(creating: path)
            try writeAll(bytes, to: file.fileDescriptor, path)
            var reader = try CaptureReader(path: path, readByteCount: readByteCount)
            do throws(CaptureReader.Failure) {
                while let frame = try reader.next() { frames.append(frame) }
            } catch {
                return (frames, error)
            }
            return (frames, nil)
        } catch {
            throw BrokenLaw(description: "\(error)")
        }
    }

    private static func checkWriting(_ frames: [CaptureReader.Frame]) throws(BrokenLaw) {
        guard !frames.isEmpty else { return }
        let encoder = PcapngEncoder()
        var bytes: [UInt8] = []
        encoder.appendSection(to: &bytes, application: "fuzz")
        encoder.appendInterface(
            CaptureInterface(name: "a", description: "", snaplen: 262_144), to: &bytes)
        for frame in frames {
            encoder.appendPacket(
                CapturedPacket(
                    interface: 0, nanoseconds: frame.nanoseconds,
                    wireByteCount: frame.wireByteCount),
                frame.bytes.wire, to: &bytes)
        }
        let again = try read(bytes, readByteCount: 4096)
        let frames = frames.map { frame in
            CaptureReader.Frame(
                // What is written has microseconds.
                nanoseconds: frame.nanoseconds / 1000 * 1000, bytes: frame.bytes,
                wireByteCount: frame.wireByteCount)
        }
        try require(
            again.1 == nil && again.frames == frames,
            "\(again.frames.count) frames of \(frames.count) come back: \(String(describing: again.1))"
        )
    }

    private static func checkPieces(_ bytes: [UInt8]) throws(BrokenLaw) {
        let whole = try decoded(bytes, byteCountMax: 1 << 16, pieceByteCount: .max)
        let cut = try decoded(bytes, byteCountMax: 1000, pieceByteCount: 7)
        try require(
            whole.content.starts(with: cut.content) || cut.content.starts(with: whole.content),
            "another content in pieces")
        guard whole.isWhole || cut.isWhole else { return }
        try require(
            whole == cut, "\(whole.content.count) bytes, and \(cut.content.count) in pieces")
    }

    private struct Decoded: Equatable {
        var content: [UInt8] = []
        /// Whether the data ended with a member, and nothing was wrong with them.
        var isWhole = false
    }

    /// The longest content that is compared.
    private static let contentByteCountMax = 1 << 20

    private static func decoded(
        _ bytes: [UInt8], byteCountMax: Int, pieceByteCount: Int
    ) throws(BrokenLaw) -> Decoded {
        var (decoded, rest, isMoving) = (Decoded(), bytes[...], true)
        do throws(GzipDecoder.Failure) {
            let decoder = try GzipDecoder()
            while !rest.isEmpty, isMoving, decoded.content.count < contentByteCountMax {
                if decoder.isAtMemberEnd { try decoder.beginMember() }
                let count = decoded.content.count
                let piece = rest.prefix(pieceByteCount)
                let taken = try decoder.decode(
                    piece, to: &decoded.content, byteCountMax: byteCountMax)
                isMoving = taken > 0 || decoded.content.count > count || decoder.isAtMemberEnd
                isMoving =
                    isMoving && taken <= piece.count
                    && decoded.content.count - count <= byteCountMax
                rest = rest.dropFirst(taken)
            }
            decoded.isWhole = rest.isEmpty && decoder.isAtMemberEnd
        } catch {
            decoded.isWhole = false
        }
        try require(isMoving, "nothing becomes of \(rest.count) bytes")
        return decoded
    }
}
