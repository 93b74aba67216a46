package import Addressing
package import Packets

/// A GSO packet, or one with a partial checksum only, as the kernel hands it to a device.
///
/// All kinds of headers are possible. Lengths and the IPv4 checksum are right.
package struct GSOPacket: Sendable, CustomStringConvertible {
    package var family = IPAddress.Family.ipv4
    package var isUDP = false
    /// Tags that the kernel has left in the frame.
    package var tags: [VLANTag] = []
    package var ipOptions: [UInt8] = []
    /// The IPv6 extension headers, each without its first two bytes: 6 bytes, or 14, and so on.
    package var extensions: [(kind: UInt8, body: [UInt8])] = []
    package var tcpOptions: [UInt8] = []
    package var flags: UInt8 = 0x10
    package var identification: UInt16 = 0x1234
    package var dontFragment = true
    /// Whether it is a chain of received packets, whose first checksum was complete (`rx-gro-list`).
    package var isChained = false
    /// Whether CWR answers a congestion mark, or is part of Accurate ECN's counter.
    package var answersCongestion = true
    package var sequence: UInt32 = 0x0102_0304
    package var payload: [UInt8] = []
    package var segmentByteCount = 0
    /// Whether the checksum's field holds the pseudo-header's sum, and not a leftover.
    package var isSumRight = true
    /// The bytes behind the packet.
    package var padding: [UInt8] = []

    package init() {}

    package func with(_ change: (inout Self) -> Void) -> Self {
        var copy = self
        change(&copy)
        return copy
    }

    package var networkOffset: Int { 14 + 4 * tags.count }
    package var transportOffset: Int {
        networkOffset
            + (family == .ipv4
                ? 20 + ipOptions.count : 40 + extensions.reduce(0) { $0 + 2 + $1.body.count })
    }
    package var checksumOffset: Int { isUDP ? 6 : 16 }
    package var payloadOffset: Int { transportOffset + (isUDP ? 8 : 20 + tcpOptions.count) }
    package var segmentCount: Int {
        segmentByteCount == 0
            ? 1 : max(1, (payload.count + segmentByteCount - 1) / segmentByteCount)
    }

    package var offload: Offload {
        let kind: Offload.Segmentation =
            isUDP ? .udp : family == .ipv4 ? .tcpOverIPv4 : .tcpOverIPv6
        return Offload(
            needsChecksum: !isChained, checksumStart: isChained ? 0 : UInt16(transportOffset),
            checksumOffset: isChained ? 0 : UInt16(checksumOffset),
            segmentation: segmentByteCount == 0 ? .none : kind,
            isCongestionReduced: answersCongestion && flags & 0x80 != 0 && !isUDP
                && segmentByteCount > 0,
            segmentByteCount: UInt16(segmentByteCount), headerByteCount: UInt16(payloadOffset))
    }

    package var bytes: [UInt8] {
        var frame: [UInt8] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]
        for tag in tags {
            frame.append(bigEndian: tag.etherType)
            frame.append(bigEndian: tag.tag)
        }
        frame.append(bigEndian: family == .ipv4 ? EtherType.ipv4 : EtherType.ipv6)
        let transport = transportBytes
        frame += family == .ipv4 ? ipv4Header(transport.count) : ipv6Header(transport.count)
        return frame + transport + padding
    }

    private var addresses: [UInt8] {
        family == .ipv4
            ? [10, 244, 1, 2, 10, 244, 1, 3]
            : [0xfd] + [UInt8](repeating: 1, count: 15) + [0xfd] + [UInt8](repeating: 2, count: 15)
    }

    private var transportBytes: [UInt8] {
        let byteCount = payloadOffset - transportOffset + payload.count
        var bytes: [UInt8] = []
        bytes.append(bigEndian: UInt16(40_000))
        bytes.append(bigEndian: UInt16(8080))
        if isUDP {
            bytes.append(bigEndian: UInt16(byteCount))
        } else {
            bytes.append(bigEndian: sequence)
            bytes += [0, 0, 0, 8, UInt8((20 + tcpOptions.count) / 4) << 4, flags, 0xff, 0xff]
        }
        var pseudo = addresses + [0, isUDP ? 17 : 6]
        pseudo.append(bigEndian: UInt32(byteCount))
        bytes.append(bigEndian: isSumRight ? plainSum(pseudo) : 0xdead)
        if !isUDP { bytes += [0, 0] + tcpOptions }
        return bytes + payload
    }

    private func ipv4Header(_ byteCount: Int) -> [UInt8] {
        let headerByteCount = 20 + ipOptions.count
        var header: [UInt8] = [0x40 | UInt8(headerByteCount / 4), 0]
        header.append(bigEndian: UInt16(exactly: headerByteCount + byteCount) ?? 0)
        header.append(bigEndian: identification)
        header += [dontFragment ? 0x40 : 0, 0, 64, isUDP ? 17 : 6, 0, 0] + addresses + ipOptions
        let checksum = ~plainSum(header)
        (header[10], header[11]) = (UInt8(checksum >> 8), UInt8(checksum & 0xff))
        return header
    }

    private func ipv6Header(_ byteCount: Int) -> [UInt8] {
        let kinds = extensions.map(\.kind) + [isUDP ? 17 : 6]
        var header: [UInt8] = [0x60, 0x12, 0x34, 0x56]
        let rest = extensions.reduce(byteCount) { $0 + 2 + $1.body.count }
        // Longer than the field can say: a jumbogram.
        header.append(bigEndian: UInt16(exactly: rest) ?? 0)
        header += [kinds[0], 64] + addresses
        for (index, header_) in extensions.enumerated() {
            header += [kinds[index + 1], UInt8((2 + header_.body.count) / 8 - 1)] + header_.body
        }
        return header
    }

    package var description: String {
        """
        \(family) \(isUDP ? "UDP" : "TCP") of \(payload.count) bytes by \(segmentByteCount), \
        tags \(tags.count), options \(ipOptions.count) and \(tcpOptions.count), extensions \
        \(extensions.count), flags \(flags), identification \(identification), \
        \(dontFragment ? "" : "may be fragmented, ")\(isChained ? "chained, " : "")\
        \(answersCongestion ? "" : "Accurate ECN")
        """
    }
}

extension GSOPacket {
    /// Returns any packet that can be repaired.
    package static func random(
        with generator: inout some RandomNumberGenerator, payloadByteCountMax: Int = 5000
    ) -> GSOPacket {
        var frame = GSOPacket()
        frame.family = Bool.random(using: &generator) ? .ipv4 : .ipv6
        frame.isUDP = Bool.random(using: &generator)
        frame.tags = (0..<Int.random(in: 0...2, using: &generator)).map { number in
            VLANTag(tag: UInt16(number + 7), etherType: number == 0 ? 0x88a8 : 0x8100)
        }
        if frame.family == .ipv4 {
            frame.ipOptions = options(15, with: &generator)
        } else {
            for kind: UInt8 in [0, 43, 60] where Bool.random(using: &generator) {
                // A route without addresses to go, or padding (RFC 8200, 4.2).
                let body: [UInt8] = kind == 43 ? [4, 0, 0, 0, 0, 0] : [1, 4, 0, 0, 0, 0]
                let isLong = Bool.random(using: &generator)
                frame.extensions.append((kind, isLong ? long(body) : body))
            }
        }
        frame.tcpOptions = frame.isUDP ? [] : options(10, with: &generator)
        frame.flags = UInt8.random(in: 0...255, using: &generator)
        frame.identification = UInt16.random(in: 0...UInt16.max, using: &generator)
        frame.sequence = UInt32.random(in: UInt32.max - 9000...UInt32.max, using: &generator)
        let byteCount = Int.random(in: 0...payloadByteCountMax, using: &generator)
        frame.payload = (0..<byteCount).map { _ in UInt8.random(in: 0...255, using: &generator) }
        frame.isSumRight = Bool.random(using: &generator)
        if Bool.random(using: &generator) {
            let sizes = [1, 2, 7, 48, 536, 1213, 1448, byteCount, byteCount - 1, byteCount + 1]
            frame.segmentByteCount = max(1, sizes.randomElement(using: &generator) ?? 1)
            frame.segmentByteCount = min(frame.segmentByteCount, frame.payloadOffset + byteCount)
            let least = (byteCount + WireForm.segmentCountMax - 1) / WireForm.segmentCountMax
            frame.segmentByteCount = max(frame.segmentByteCount, least)
        }
        return frame
    }

    /// Padding of some words (RFC 791; RFC 9293, 3.2: 1 does nothing, in both).
    private static func options(
        _ wordCountMax: Int, with generator: inout some RandomNumberGenerator
    ) -> [UInt8] {
        guard Bool.random(using: &generator) else { return [] }
        let count = Int.random(in: 0...min(wordCountMax, 10), using: &generator)
        return [UInt8](repeating: 1, count: 4 * count)
    }

    /// An extension header of 16 bytes.
    private static func long(_ body: [UInt8]) -> [UInt8] {
        body[0] == 4
            ? body + [UInt8](repeating: 0, count: 8) : [1, 12] + [UInt8](repeating: 0, count: 12)
    }
}

/// The sum of RFC 1071, as slowly as it is written there.
package func plainSum(_ bytes: some Collection<UInt8>) -> UInt16 {
    var sum = 0
    for (index, byte) in bytes.enumerated() { sum += Int(byte) << (index % 2 == 0 ? 8 : 0) }
    while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
    return UInt16(sum)
}
