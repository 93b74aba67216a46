/// Reads numbers in network byte order, at any alignment.
///
/// An offset past the end traps, so compare it with `byteCount` first: a packet may be shorter than
/// it claims to be.
extension RawSpan {
    // Safety, for all four: every bit pattern is an integer, and the load checks its bounds.

    @inlinable
    package func uint8(at offset: Int) -> UInt8 {
        unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }

    @inlinable
    package func uint16(at offset: Int) -> UInt16 {
        UInt16(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }

    @inlinable
    package func uint32(at offset: Int) -> UInt32 {
        UInt32(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    @inlinable
    package func uint64(at offset: Int) -> UInt64 {
        UInt64(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
}

extension Array where Element == UInt8 {
    /// The array's bytes.
    @inlinable
    package var wire: RawSpan {
        @_lifetime(borrow self)
        // Safety: a `UInt8` has no padding, so all bytes are initialized.
        get { unsafe span.bytes }
    }

    /// Appends a number in network byte order.
    @inlinable
    package mutating func append(bigEndian value: some FixedWidthInteger) {
        var shift = value.bitWidth
        while shift > 0 {
            shift -= 8
            append(UInt8(truncatingIfNeeded: value >> shift))
        }
    }
}

extension RawSpan {
    /// A copy of the bytes, which allocates: not for the data path.
    package var array: [UInt8] {
        unsafe withUnsafeBytes { unsafe [UInt8]($0) }
    }
}

extension Array where Element == UInt8 {
    /// Appends a copy of borrowed bytes.
    package mutating func append(contentsOf bytes: RawSpan) {
        unsafe bytes.withUnsafeBytes { unsafe append(contentsOf: $0) }
    }

    /// Copies borrowed bytes to an offset.
    ///
    /// Traps if there is no room for them.
    package mutating func store(_ bytes: RawSpan, at offset: Int) {
        // Safety: the span is not used beyond this closure, in which the bytes stay where they are.
        unsafe withUnsafeMutableBytes { target in
            var span = unsafe MutableRawSpan(_unsafeBytes: target)
            span.store(bytes, at: offset)
        }
    }
}

extension MutableRawSpan {
    /// Copies bytes to an offset.
    ///
    /// Traps if there is no room for them.
    @inlinable
    @inline(__always)
    package mutating func store(_ bytes: RawSpan, at offset: Int) {
        precondition(offset >= 0 && offset <= byteCount && bytes.byteCount <= byteCount - offset)
        // Safety: the line above keeps the copy inside this span, and a borrowed span shares no
        // byte with a mutable one.
        unsafe withUnsafeMutableBytes { target in
            unsafe bytes.withUnsafeBytes { source in
                guard let address = target.baseAddress, let from = source.baseAddress else {
                    return
                }
                unsafe (address + offset).copyMemory(from: from, byteCount: source.count)
            }
        }
    }
}
