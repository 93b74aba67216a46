import CZlib

/// A decoder of gzip data (RFC 1952), which takes and returns some bytes at a time.
///
/// It decodes members that follow each other, as gzip(1) does: the content is that of all of them.
/// Its memory is zlib's state and window, about 40 KiB, whatever the data are.
@safe
package final class GzipDecoder {
    // Safety: it is allocated and initialized by the initializer, and freed by nothing but `deinit`.
    private let stream: UnsafeMutablePointer<z_stream>
    /// Whether the end of a member has been reached, with its checksum.
    package private(set) var isAtMemberEnd = false

    /// The first two bytes of each member.
    package static let magic: [UInt8] = [0x1f, 0x8b]

    /// Why data cannot be decoded.
    package struct Failure: Error, Equatable, CustomStringConvertible {
        package let description: String
    }

    package init() throws(Failure) {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        // Safety: the stream is zeroed, which chooses zlib's own allocator.
        let code = unsafe czlib_begin_gunzip(stream)
        guard code == Z_OK else { throw Self.failure(code) }
    }

    deinit {
        // Safety: a stream that was not begun is left alone, since it has no state.
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Decodes some bytes, up to the end of a member.
    ///
    /// - Parameters:
    ///   - input: The bytes that follow those that earlier calls took.
    ///   - output: Where the decoded bytes are appended.
    ///   - byteCountMax: The most bytes to append, which bounds the growth of `output`.
    /// - Returns: The number of bytes of `input` that were taken.
    /// - Throws: If the data are damaged, or zlib has no memory.
    package func decode(
        _ input: ArraySlice<UInt8>, to output: inout [UInt8], byteCountMax: Int
    ) throws(Failure) -> Int {
        let end = output.count
        output += [UInt8](repeating: 0, count: byteCountMax)
        var (inputCount, outputCount) = (input.count, byteCountMax)
        // Safety: zlib reads at most the input, writes at most the bytes that have just been
        // appended, and keeps neither pointer's content for later.
        let code = unsafe input.withUnsafeBufferPointer { input in
            unsafe output.withUnsafeMutableBufferPointer { output in
                let place = output.extracting(end...)
                unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
                unsafe stream.pointee.avail_in = UInt32(clamping: input.count)
                unsafe stream.pointee.next_out = place.baseAddress
                unsafe stream.pointee.avail_out = UInt32(clamping: place.count)
                let code = unsafe inflate(stream, Z_NO_FLUSH)
                inputCount -= unsafe Int(stream.pointee.avail_in)
                outputCount -= unsafe Int(stream.pointee.avail_out)
                return code
            }
        }
        output.removeLast(byteCountMax - outputCount)
        switch code {
        case Z_OK: break
        case Z_STREAM_END: isAtMemberEnd = true
        // Nothing could be done for want of input.
        case Z_BUF_ERROR where input.isEmpty: break
        default: throw Self.failure(code)
        }
        return inputCount
    }

    /// Prepares for another member.
    package func beginMember() throws(Failure) {
        // Safety: the stream was begun by the initializer.
        let code = unsafe inflateReset(stream)
        guard code == Z_OK else { throw Self.failure(code) }
        isAtMemberEnd = false
    }

    private static func failure(_ code: CInt) -> Failure {
        Failure(
            description: code == Z_MEM_ERROR
                ? "no memory to decompress it" : "its gzip data are damaged")
    }
}
