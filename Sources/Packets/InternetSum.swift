import Addressing

/// A ones' complement sum in the making (RFC 1071), many bytes at a time, and while they are copied.
///
/// It is taken over words in the machine's own byte order, and only the result is turned around:
/// carries go from one byte to the other in either order (RFC 1071, 2 B).
package struct InternetSum: Sendable {
    /// Words of 32 bits, so many of which fit that no frame can make them overflow.
    private var total: UInt64 = 0

    package init() {}

    /// Adds a number of 16 bits, as it reads in network byte order.
    package mutating func add(_ value: UInt16) {
        total &+= UInt64(value.bigEndian)
    }

    /// Takes away a number that has been added among others.
    package mutating func remove(_ value: UInt16) {
        add(~value)
    }

    /// Adds a length as a pseudo-header has it: the one of IPv6 has 32 bits (RFC 8200, 8.1).
    package mutating func add(length: Int) {
        add(UInt16(truncatingIfNeeded: length >> 16))
        add(UInt16(truncatingIfNeeded: length))
    }

    /// Adds bytes that begin at an even place. An odd one at the end counts as the first of two, so
    /// none may follow it.
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

    /// The same, and copies as many of them as the target has room for behind an offset: what a snap
    /// length does not keep is still covered by the checksum.
    package mutating func add(
        _ bytes: RawSpan, copyingInto target: inout MutableRawSpan, at offset: Int
    ) {
        let copiedByteCount = min(bytes.byteCount, max(0, target.byteCount - offset))
        guard copiedByteCount > 0 else { return add(bytes) }
        // What is summed behind what is copied has to begin at an even place.
        let evenByteCount =
            copiedByteCount == bytes.byteCount ? copiedByteCount : copiedByteCount & ~1
        addCopying(bytes.extracting(first: evenByteCount), into: &target, at: offset)
        guard evenByteCount < bytes.byteCount else { return }
        target.copy(
            bytes.extracting(evenByteCount..<copiedByteCount), at: offset + evenByteCount)
        add(bytes.extracting(evenByteCount..<bytes.byteCount))
    }

    /// The sum, not complemented, as it reads in network byte order.
    package var value: UInt16 {
        let once = (total & 0xffff_ffff) &+ (total >> 32)
        var sum = (once & 0xffff) &+ (once >> 16 & 0xffff) &+ (once >> 32)
        while sum >> 16 != 0 { sum = (sum & 0xffff) &+ (sum >> 16) }
        return UInt16(bigEndian: UInt16(truncatingIfNeeded: sum))
    }

    package var checksum: UInt16 { ~value }
}

extension InternetSum {
    /// What one step of the loops takes: four of the registers that every x86-64 has. Neither more
    /// nor fewer were faster.
    private typealias Wide = SIMD8<UInt64>
    private static let wideByteCount = MemoryLayout<Wide>.size

    /// The one pass: each word is loaded once, stored, and added up.
    private mutating func addCopying(
        _ bytes: RawSpan, into target: inout MutableRawSpan, at start: Int
    ) {
        precondition(start >= 0 && bytes.byteCount <= target.byteCount - start)
        // Safety: the line above keeps the copy inside the target, whose bytes are nobody else's.
        unsafe bytes.withUnsafeBytes { bytes in
            unsafe target.withUnsafeMutableBytes { target in
                guard let from = bytes.baseAddress, let to = target.baseAddress else { return }
                unsafe add(bytes.count, copying: from, to: to + start)
            }
        }
    }

    /// - Safety: so many bytes may be read at the one place and written at the other.
    @unsafe
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

    /// Words of 64 bits were added up, and apart from that their upper halves. The lower halves are
    /// what is left of the former without the latter; it is exact, as their own sum has less than 64
    /// bits. That is one step less for each word than to add up both halves.
    private mutating func add(_ all: Wide, _ high: Wide) {
        total &+= (all &- high &<< 32 &+ high).wrappedSum()
    }

    /// Adds what is too short for the loops.
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
