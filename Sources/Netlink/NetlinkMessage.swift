import Addressing
import CMnl
import Glibc
import Linux

/// A whole message from the kernel: its header, a fixed part, and attributes.
///
/// Numbers are in the machine's byte order, and every part is aligned to four bytes.
package struct NetlinkMessage: ~Escapable {
    let type: UInt16
    let flags: UInt16
    let sequence: UInt32
    /// The bytes behind the netlink header.
    let payload: RawSpan

    /// Reads the message that begins at an offset; nil if it is not complete.
    @_lifetime(copy bytes)
    package init?(_ bytes: RawSpan, at offset: Int) {
        let headerByteCount = MemoryLayout<nlmsghdr>.size
        guard offset + headerByteCount <= bytes.byteCount else { return nil }
        // Safety: the header is plain integers, and the line above has checked that it is there.
        let header = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: nlmsghdr.self)
        let end = offset + Int(header.nlmsg_len)
        guard Int(header.nlmsg_len) >= headerByteCount, end <= bytes.byteCount else { return nil }
        type = header.nlmsg_type
        flags = header.nlmsg_flags
        sequence = header.nlmsg_seq
        payload = bytes.extracting(offset + headerByteCount..<end)
    }

    /// The distance from the start of this message to the next one.
    package var alignedByteCount: Int {
        (payload.byteCount + MemoryLayout<nlmsghdr>.size + 3) & ~3
    }

    /// The fixed part, or nil if the message is too short for it.
    func header<Header: BitwiseCopyable>(_ type: Header.Type) -> Header? {
        guard MemoryLayout<Header>.size <= payload.byteCount else { return nil }
        // Safety: the fixed parts of rtnetlink are plain integers; the line above checks the length.
        return unsafe payload.unsafeLoadUnaligned(as: Header.self)
    }

    /// Calls a closure for each attribute behind the fixed part.
    func forEachAttribute<Header>(
        after type: Header.Type, _ body: (Int, RawSpan) -> Void
    ) {
        let offset = (MemoryLayout<Header>.size + 3) & ~3
        guard offset <= payload.byteCount else { return }
        Self.forEachAttribute(in: payload.extracting(offset..<payload.byteCount), body)
    }

    /// Calls a closure for each attribute (`struct nlattr`), up to one that is not complete.
    static func forEachAttribute(in bytes: RawSpan, _ body: (Int, RawSpan) -> Void) {
        var offset = 0
        while offset + 4 <= bytes.byteCount {
            let head = bytes.extracting(offset..<bytes.byteCount)
            let byteCount = Int(head.nativeUInt16(at: 0))
            guard byteCount >= 4, byteCount <= head.byteCount else { return }
            // The top two bits say "nested" and "network byte order" (NLA_TYPE_MASK).
            let type = Int(head.nativeUInt16(at: 2) & 0x3fff)
            body(type, head.extracting(4..<byteCount))
            offset += (byteCount + 3) & ~3
        }
    }
}

/// An attribute of a request (`struct nlattr`).
enum NetlinkAttribute {
    case number(type: Int, UInt32)
    case bytes(type: Int, [UInt8])
    indirect case nest(type: Int, [NetlinkAttribute])

    /// Appends the attribute to a message.
    ///
    /// - Safety: the message's buffer must have room for the attribute.
    @unsafe
    func put(into message: UnsafeMutablePointer<nlmsghdr>) {
        switch self {
        case .number(let type, let value):
            unsafe mnl_attr_put_u32(message, UInt16(type), value)
        case .bytes(let type, let bytes):
            unsafe mnl_attr_put(message, UInt16(type), bytes.count, bytes)
        case .nest(let type, let attributes):
            let nest = unsafe mnl_attr_nest_start(message, UInt16(type))
            for attribute in attributes { unsafe attribute.put(into: message) }
            unsafe mnl_attr_nest_end(message, nest)
        }
    }
}

extension RawSpan {
    /// The value of an attribute that is a 32-bit number, or nil if it has another length.
    var uint32: UInt32? { byteCount == 4 ? nativeUInt32(at: 0) : nil }

    /// The value of an attribute that is a text with a zero byte behind it.
    var text: String {
        String(decoding: array.prefix { $0 != 0 }, as: UTF8.self)
    }
}
