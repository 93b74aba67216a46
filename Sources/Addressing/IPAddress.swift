import Glibc

/// An IPv4 or IPv6 address.
///
/// Addresses of one family are ordered as unsigned big-endian numbers. Both ends of a flow use this
/// order to agree which of them reports it.
package struct IPAddress: Hashable, Sendable {
    /// The version of IP.
    package enum Family: UInt8, Hashable, Sendable, CaseIterable, Comparable {
        case ipv4 = 4
        case ipv6 = 6

        package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

        package var bitCount: Int { self == .ipv4 ? 32 : 128 }
        package var byteCount: Int { bitCount / 8 }
    }

    package let family: Family
    /// The first eight bytes of an IPv6 address; zero for IPv4.
    package let high: UInt64
    /// The last eight bytes of an IPv6 address, or the four of an IPv4 one.
    package let low: UInt64

    package init(ipv4 value: UInt32) {
        (family, high, low) = (.ipv4, 0, UInt64(value))
    }

    package init(ipv6High high: UInt64, low: UInt64) {
        (family, self.high, self.low) = (.ipv6, high, low)
    }

    /// Reads an address from a frame.
    ///
    /// The caller has checked that its bytes are there.
    @inlinable
    package init(_ family: Family, _ bytes: RawSpan, at offset: Int) {
        switch family {
        case .ipv4: self.init(ipv4: bytes.uint32(at: offset))
        case .ipv6: self.init(ipv6High: bytes.uint64(at: offset), low: bytes.uint64(at: offset + 8))
        }
    }

    /// Reads `"10.244.1.2"` or `"fd00:10:244::2"`: no names, scopes or brackets.
    package init?(_ text: String) {
        // C would not see what follows a zero byte.
        guard !text.utf8.contains(0) else { return nil }
        // Safety: inet_pton(3) writes 4 or 16 bytes, and the buffer has 16.
        var bytes = [UInt8](repeating: 0, count: 16)
        if unsafe inet_pton(AF_INET, text, &bytes) == 1 {
            self.init(.ipv4, bytes.wire, at: 0)
        } else if unsafe inet_pton(AF_INET6, text, &bytes) == 1 {
            self.init(.ipv6, bytes.wire, at: 0)
        } else {
            return nil
        }
    }

    /// The bytes in the order in which a packet has them: 4 or 16.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        switch family {
        case .ipv4:
            bytes.append(bigEndian: UInt32(truncatingIfNeeded: low))
        case .ipv6:
            bytes.append(bigEndian: high)
            bytes.append(bigEndian: low)
        }
        return bytes
    }

    /// Whether the address is in `fe80::/10`, valid on one link and reusable on others.
    package var isLinkLocalIPv6: Bool { family == .ipv6 && high >> 54 == 0x3fa }

    package var isLoopback: Bool {
        family == .ipv4 ? low >> 24 == 127 : high == 0 && low == 1
    }

    /// Whether the address can be that of one host beyond a link.
    ///
    /// It is no loopback's, not link-local, no group, and not all zeros.
    package var isRoutable: Bool {
        switch family {
        case .ipv4: low >> 24 != 127 && low >> 24 < 224 && low >> 24 != 0 && low >> 16 != 0xa9fe
        case .ipv6: !isLinkLocalIPv6 && high >> 56 != 0xff && !(high == 0 && low <= 1)
        }
    }
}

extension IPAddress: Comparable {
    @inlinable
    package static func < (left: Self, right: Self) -> Bool {
        (left.family, left.high, left.low) < (right.family, right.high, right.low)
    }
}

extension IPAddress: CustomStringConvertible {
    package var description: String {
        // Safety: 46 bytes hold the longest text and its terminator (INET6_ADDRSTRLEN).
        var text = [CChar](repeating: 0, count: 46)
        let family = family == .ipv4 ? AF_INET : AF_INET6
        guard unsafe inet_ntop(family, bytes, &text, socklen_t(text.count)) != nil else {
            return "?"
        }
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self)
    }
}
