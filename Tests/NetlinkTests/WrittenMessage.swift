import Addressing

/// A netlink message that a test writes, as the kernel does: numbers in the machine's byte order.
struct WrittenMessage {
    private(set) var bytes: [UInt8] = []

    /// Writes the header and the fixed part; attributes follow.
    init(type: UInt16, _ fixed: [UInt8], _ attributes: [Attribute]) {
        bytes += Self.native(UInt32(0)) + Self.native(type) + Self.native(UInt16(0))
        bytes += Self.native(UInt32(7)) + Self.native(UInt32(0)) + fixed
        for attribute in attributes { bytes += attribute.bytes }
        bytes.replaceSubrange(0..<4, with: Self.native(UInt32(bytes.count)))
    }

    static func native<Number: FixedWidthInteger & UnsignedInteger>(_ number: Number) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(bigEndian: number.bigEndian)
        return bytes
    }

    /// An attribute, padded to four bytes.
    struct Attribute {
        let bytes: [UInt8]

        init(_ type: UInt16, _ value: [UInt8]) {
            let padding = [UInt8](repeating: 0, count: (4 - value.count % 4) % 4)
            bytes =
                native(UInt16(4 + value.count)) + native(type) + value + padding
        }

        /// A nest, which is marked as one.
        init(_ type: UInt16, _ attributes: [Self]) {
            self.init(type | 0x8000, attributes.flatMap(\.bytes))
        }

        init(_ type: UInt16, _ number: UInt32) { self.init(type, native(number)) }
    }
}

/// Returns the bytes with a few wrong ones, and perhaps without the end.
///
/// The message's length is made right again in most of them, so that what is inside is read.
func damaged(
    _ bytes: [UInt8], with generator: inout some RandomNumberGenerator
) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 0...4, using: &generator) {
        let index = Int.random(in: bytes.indices, using: &generator)
        let values: [UInt8] = [0, 1, 3, 4, 0x80, 0xff, .random(in: 0...255, using: &generator)]
        bytes[index] = values.randomElement(using: &generator) ?? 0
    }
    if Bool.random(using: &generator) {
        bytes.removeLast(Int.random(in: 0...bytes.count, using: &generator))
    }
    guard bytes.count >= 4, Int.random(in: 0..<8, using: &generator) > 0 else { return bytes }
    bytes.replaceSubrange(0..<4, with: WrittenMessage.native(UInt32(bytes.count)))
    return bytes
}
