/// stand-in
package enum PacketRecord {
    package static let headerByteCount = 28
    package static func store(
        into bytes: inout MutableRawSpan, nanoseconds: UInt64, byteCount: Int, wireByteCount: Int,
        number: UInt32
    ) {
        bytes.storeBytes(of: UInt32(0x0007_0000).bigEndian, toByteOffset: 0, as: UInt32.self)
    }
}
