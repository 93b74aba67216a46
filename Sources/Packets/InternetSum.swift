import Addressing

/// A running ones' complement sum (RFC 1071), which can copy the bytes that it adds.
///
/// It adds words in native byte order and swaps the bytes of the result only: the sum does not
/// depend on the byte order (RFC 1071, 2 B).
package struct InternetSum: Sendable {
    /// The sum of words of 32 bits, with room for more of them than any frame has.
    private var total: UInt64 = 0

    package init() {}

    /// Adds a number of 16 bits.
    @inline(__always)
    package mutating func add(_ value: UInt16) {
        total &+= UInt64(value.bigEndian)
    }

    /// Subtracts a number of 16 bits that has been added.
    package mutating func remove(_ value: UInt16) {
        add(~value)
    }

    /// Adds the length field of a pseudo-header, which has 32 bits for IPv6 (RFC 8200, 8.1).
    @inline(__always)
    package mutating func add(length: Int) {
        add(UInt16(truncatingIfNeeded: length >> 16))
        add(UInt16(truncatingIfNeeded: length))
    }

    /// Adds bytes that begin at an even offset of what is summed.
    ///
    /// An odd last byte is padded with zero, so nothing may follow it.
    package mutating func add(_ bytes: RawSpan) {
        // Safety: the loops load from inside the buffer only.
        unsafe bytes.withUnsafeBytes { bytes in
            var offset = 0
            if bytes.count >= Self.wideByteCount {
                var (all, high) = (Wide.zero, Wide.zero)
                while offset &+ Self.wideByteCount <= bytes.count {
                    let words = unsafe bytes.loadUnaligned(fromByteOffset: offset, as: Wide.self)
                    all &+= words
                    high &+= words &>> 32
                    offset &+= Self.wideByteCount
                }
                add(all, high)
            }
            unsafe addTail(UnsafeRawBufferPointer(rebasing: bytes[offset...]))
        }
    }

    /// Adds bytes, and copies as many of them as the target has room for behind an offset.
    ///
    /// Bytes that a snapshot length cuts off are still covered by the checksum.
    package mutating func add(
        _ bytes: RawSpan, copyingInto target: inout MutableRawSpan, at offset: Int
    ) {
        let copiedByteCount = min(bytes.byteCount, max(0, target.byteCount - offset))
        guard copiedByteCount > 0 else { return add(bytes) }
        // The rest, which is only summed, has to begin at an even offset.
        let evenByteCount =
            copiedByteCount == bytes.byteCount ? copiedByteCount : copiedByteCount & ~1
        addCopying(bytes.extracting(first: evenByteCount), into: &target, at: offset)
        guard evenByteCount < bytes.byteCount else { return }
        target.copy(
            bytes.extracting(evenByteCount..<copiedByteCount), at: offset + evenByteCount)
        add(bytes.extracting(evenByteCount..<bytes.byteCount))
    }

    /// Adds bytes, and copies all of them to an offset of the target, where there must be room.
    @inline(__always)
    mutating func add(
        _ bytes: RawSpan, copyingWholeInto target: inout MutableRawSpan, at offset: Int
    ) {
        addCopying(bytes, into: &target, at: offset)
    }

    /// The sum, not complemented.
    @inline(__always)
    package var value: UInt16 {
        let once = (total & 0xffff_ffff) &+ (total >> 32)
        var sum = (once & 0xffff) &+ (once >> 16 & 0xffff) &+ (once >> 32)
        while sum >> 16 != 0 { sum = (sum & 0xffff) &+ (sum >> 16) }
        return UInt16(bigEndian: UInt16(truncatingIfNeeded: sum))
    }

    /// The complement of the sum: the checksum of all that was added.
    @inline(__always)
    package var checksum: UInt16 { ~value }
}

extension InternetSum {
    /// The words of one step of the loops, in four of the registers that every x86-64 has.
    ///
    /// Neither more nor fewer were faster.
    private typealias Wide = SIMD8<UInt64>
    private static let wideByteCount = MemoryLayout<Wide>.size

    /// Copies and adds bytes in one pass: each word is loaded once.
    @inline(__always)
    private mutating func addCopying(
        _ bytes: RawSpan, into target: inout MutableRawSpan, at start: Int
    ) {
        precondition(start >= 0 && bytes.byteCount <= target.byteCount - start)
        // Safety: the line above keeps the copy inside the target, to which there is exclusive
        // access.
        unsafe bytes.withUnsafeBytes { bytes in
            unsafe target.withUnsafeMutableBytes { target in
                guard let from = bytes.baseAddress, let to = target.baseAddress else { return }
                unsafe add(bytes.count, copying: from, to: to + start)
            }
        }
    }

    /// Copies and adds bytes.
    ///
    /// - Safety: `byteCount` bytes can be read at `source` and written at `target`, and the two do
    ///   not overlap.
    @unsafe @inline(__always)
    mutating func add(
        _ byteCount: Int, copying source: UnsafeRawPointer, to target: UnsafeMutableRawPointer
    ) {
        var offset = 0
        if byteCount >= Self.wideByteCount {
            var (all, high) = (Wide.zero, Wide.zero)
            while offset &+ Self.wideByteCount <= byteCount {
                let words = unsafe source.loadUnaligned(fromByteOffset: offset, as: Wide.self)
                unsafe target.storeBytes(of: words, toByteOffset: offset, as: Wide.self)
                all &+= words
                high &+= words &>> 32
                offset &+= Self.wideByteCount
            }
            add(all, high)
        }
        while offset &+ 8 <= byteCount {
            let word = unsafe source.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            unsafe target.storeBytes(of: word, toByteOffset: offset, as: UInt64.self)
            total &+= (word & 0xffff_ffff) &+ (word >> 32)
            offset &+= 8
        }
        if offset &+ 4 <= byteCount {
            let word = unsafe source.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
            unsafe target.storeBytes(of: word, toByteOffset: offset, as: UInt32.self)
            total &+= UInt64(word)
            offset &+= 4
        }
        if offset &+ 2 <= byteCount {
            let word = unsafe source.loadUnaligned(fromByteOffset: offset, as: UInt16.self)
            unsafe target.storeBytes(of: word, toByteOffset: offset, as: UInt16.self)
            total &+= UInt64(word)
            offset &+= 2
        }
        if offset < byteCount {
            let byte = unsafe source.load(fromByteOffset: offset, as: UInt8.self)
            unsafe target.storeBytes(of: byte, toByteOffset: offset, as: UInt8.self)
            add(UInt16(byte) << 8)
        }
    }

    /// Adds the halves of 64-bit words, given the sums of the words and of their upper halves.
    ///
    /// The sum of the lower halves is the first less the second. That is exact, because it has less
    /// than 64 bits itself, and it takes one operation less per word than adding both halves.
    @inline(__always)
    private mutating func add(_ all: Wide, _ high: Wide) {
        total &+= (all &- high &<< 32 &+ high).wrappedSum()
    }

    /// Adds the bytes that are too few for a step of the loop.
    private mutating func addTail(_ bytes: UnsafeRawBufferPointer) {
        var offset = 0
        // Safety: each load is from inside the buffer.
        while offset &+ 8 <= bytes.count {
            let word = unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            total &+= (word & 0xffff_ffff) &+ (word >> 32)
            offset &+= 8
        }
        while offset &+ 2 <= bytes.count {
            total &+= UInt64(unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
            offset &+= 2
        }
        if offset < bytes.count { add(UInt16(unsafe bytes[offset]) << 8) }
    }
}
