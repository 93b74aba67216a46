import Addressing

/// Numbers and bytes written into a frame, as far as it reaches: what is kept of a frame may end
/// before them, or in their middle.
extension MutableRawSpan {
    /// Writes a number in network byte order.
    mutating func store(_ value: UInt16, at offset: Int) {
        if offset + 2 <= byteCount {
            storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
        } else if offset < byteCount {
            storeBytes(of: UInt8(value >> 8), toByteOffset: offset, as: UInt8.self)
        }
    }

    mutating func store(_ value: UInt32, at offset: Int) {
        store(UInt16(truncatingIfNeeded: value >> 16), at: offset)
        store(UInt16(truncatingIfNeeded: value), at: offset + 2)
    }

    mutating func copy(_ bytes: RawSpan, at offset: Int) {
        let count = min(bytes.byteCount, byteCount - offset)
        guard count > 0 else { return }
        // Safety: the lines above keep the copy inside both, and a borrowed span and one that may be
        // written to have no byte in common.
        unsafe bytes.withUnsafeBytes { source in
            unsafe withUnsafeMutableBytes { target in
                unsafe UnsafeMutableRawBufferPointer(rebasing: target[offset...])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: source[..<count]))
            }
        }
    }
}
