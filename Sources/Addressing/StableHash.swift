/// A hash of texts that is the same on each machine, at each start and in each version.
///
/// It is FNV-1a, 64 bits, whose last bytes change few bits, and so a mixer stands behind it.
package enum StableHash {
    /// The hash of one text, or of several in their order.
    package static func of(_ texts: String...) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        // No text of UTF-8 has this byte, so that the texts cannot run into each other.
        for byte in texts.map({ Array($0.utf8) }).joined(separator: [0xff]) {
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
        }
        return hash.mixed
    }
}
