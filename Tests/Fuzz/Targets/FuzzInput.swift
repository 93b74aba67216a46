/// The bytes of one call, which are taken from the front: first choices, then content.
///
/// Bytes that are missing count as 0, so an input of any length is complete.
struct FuzzInput {
    private let bytes: [UInt8]
    private var offset = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { offset >= bytes.count }

    /// Takes a byte.
    mutating func byte() -> UInt8 {
        guard offset < bytes.count else { return 0 }
        offset += 1
        return bytes[offset - 1]
    }

    /// Takes a number, its highest byte first.
    mutating func number<Number: FixedWidthInteger>(_ type: Number.Type = Number.self) -> Number {
        (0..<Number.bitWidth / 8).reduce(0) { number, _ in
            (Number.bitWidth > 8 ? number << 8 : 0) | Number(truncatingIfNeeded: byte())
        }
    }

    /// Takes some bytes, or as many as there are.
    mutating func take(_ count: Int) -> [UInt8] {
        let taken = bytes[min(offset, bytes.count)...].prefix(count)
        offset += taken.count
        return Array(taken)
    }

    /// Takes all bytes that are left.
    mutating func rest() -> [UInt8] { take(.max) }
}

/// Returns bytes in pieces of 1 to 128 bytes, at least in one; `seed` decides how long each is.
func pieces(of bytes: [UInt8], _ seed: UInt8) -> [ArraySlice<UInt8>] {
    var (pieces, rest, state): ([ArraySlice<UInt8>], _, _) = ([], bytes[...], seed)
    repeat {
        pieces.append(rest.prefix(1 << Int(state >> 5)))
        rest = rest.dropFirst(1 << Int(state >> 5))
        state = state &* 13 &+ 61
    } while !rest.isEmpty
    return pieces
}

/// Whether a text can be shown on a terminal and in a line of the log: printable ASCII.
func isPrintable(_ text: String) -> Bool { text.utf8.allSatisfy { (0x20...0x7e).contains($0) } }
