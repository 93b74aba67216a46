extension RawSpan {
    // Safety, for all: every bit pattern is an integer, and the load checks its bounds.

    /// A 16-bit number in the machine's byte order, in which the kernel keeps its own.
    package func nativeUInt16(at offset: Int) -> UInt16 {
        unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self)
    }

    /// A 32-bit number in the machine's byte order.
    package func nativeUInt32(at offset: Int) -> UInt32 {
        unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self)
    }

    /// A 64-bit number in the machine's byte order.
    package func nativeUInt64(at offset: Int) -> UInt64 {
        unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }
}
