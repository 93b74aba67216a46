import Addressing

/// Writes into a frame as far as it reaches.
///
/// The part of a frame that is kept may end before a field, or in its middle.
extension MutableRawSpan {
    /// Writes a number in network byte order, as much of it as fits.
    mutating func store(_ value: UInt16, at offset: Int) {
        if offset + 2 <= byteCount {
            storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
        } else if offset < byteCount {
            storeBytes(of: UInt8(value >> 8), toByteOffset: offset, as: UInt8.self)
        }
    }

    /// Writes a number in network byte order, as much of it as fits.
    mutating func store(_ value: UInt32, at offset: Int) {
        store(UInt16(truncatingIfNeeded: value >> 16), at: offset)
        store(UInt16(truncatingIfNeeded: value), at: offset + 2)
    }

    /// Copies bytes to an offset, as many of them as fit.
    mutating func copy(_ bytes: RawSpan, at offset: Int) {
        let count = min(bytes.byteCount, byteCount - offset)
        guard count > 0 else { return }
        // Safety: the lines above keep the copy inside both, and a borrowed span shares no byte
        // with a mutable one.
        unsafe bytes.withUnsafeBytes { source in
            unsafe withUnsafeMutableBytes { target in
                unsafe UnsafeMutableRawBufferPointer(rebasing: target[offset...])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: source[..<count]))
            }
        }
    }
}
