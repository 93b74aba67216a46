import Addressing

/// A generator of frames that are likely to matter: known addresses, near-equal ports, odd headers.
package enum GeneratedFrame {
    package static func make(with generator: inout some RandomNumberGenerator) -> [UInt8] {
        let all = Bool.random(using: &generator) ? Site.all4 : Site.all6
        // The pods a, b and c come first in both lists.
        let pool = Int.random(in: 0..<3, using: &generator) == 0 ? Array(all.prefix(3)) : all
        let source = pool.randomElement(using: &generator) ?? Site.a4
        let destination = pool.randomElement(using: &generator) ?? Site.c4
        let transport = transport(with: &generator)
        var bytes = Frame.ethernet(
            to: destinationMAC(with: &generator), from: sourceMAC(with: &generator),
            type: Frame.type(of: source),
            Frame.ip(
                from: source, to: destination, protocol: transport,
                fragment: [0, 0, 0, 0, 0x4000, 0x2000, 0x0010].randomElement(using: &generator)
                    ?? 0,
                payload(of: transport, with: &generator)))
        distort(&bytes, with: &generator)
        return bytes
    }

    private static func destinationMAC(with generator: inout some RandomNumberGenerator)
        -> MACAddress
    {
        [
            Site.aMAC, Site.aMAC, Site.aMAC, Site.guestMAC, Site.lateGuestMAC, Site.bMAC, Site.bMAC,
            Site.bridgeMAC, Site.outsideMAC, Site.strangerMAC, .broadcast,
        ].randomElement(using: &generator) ?? Site.aMAC
    }

    private static func sourceMAC(with generator: inout some RandomNumberGenerator) -> MACAddress {
        [
            Site.aMAC, Site.guestMAC, Site.bMAC, Site.bridgeMAC, Site.bridgeMAC, Site.outsideMAC,
            Site.strangerMAC,
        ].randomElement(using: &generator) ?? Site.aMAC
    }

    private static func transport(with generator: inout some RandomNumberGenerator) -> UInt8 {
        [6, 6, 6, 17, 17, 132, 1, 58, 47, 0, 43, 44, 60, 51, 255].randomElement(using: &generator)
            ?? 6
    }

    private static func payload(
        of transport: UInt8, with generator: inout some RandomNumberGenerator
    ) -> [UInt8] {
        let isICMP = transport == 1 || transport == 58
        if isICMP, Bool.random(using: &generator) { return echo(with: &generator) }
        if Int.random(in: 0..<(isICMP ? 2 : 8), using: &generator) == 0 {
            return error(with: &generator)
        }
        let ports: [UInt16] = [80, 80, 443, 40000, 40001, 255, 256, 0, 65535, 0x0300, 0x8000]
        var bytes = Frame.ports(
            ports.randomElement(using: &generator) ?? 0,
            ports.randomElement(using: &generator) ?? 0,
            more: [0, 4, 8, 9, 10, 12, 16, 16, 16, 20].randomElement(using: &generator) ?? 16)
        if bytes.count > 13 {
            // No flags, ACK, SYN, SYN with ECN's flags, SYN-ACK, RST and RST-ACK, if it is TCP.
            bytes[13] =
                [0, 0, 0x10, 0x18, 0x10, 0x02, 0x02, 0xc2, 0x12, 0x04, 0x14]
                .randomElement(using: &generator) ?? 0
        }
        return bytes
    }

    /// An ICMP error, perhaps, and what it quotes.
    private static func error(with generator: inout some RandomNumberGenerator) -> [UInt8] {
        let quoted = Site.all4.randomElement(using: &generator) ?? Site.a4
        let type: UInt8 = [3, 11, 5, 8, 1, 128].randomElement(using: &generator) ?? 3
        return [type, 0, 0, 0, 0, 0, 0, 0]
            + Frame.ip(from: quoted, to: Site.a4, protocol: 17, Frame.ports(53, 40000, more: 4))
    }

    /// An echo request or reply of either family, or a message whose type is next to theirs.
    private static func echo(with generator: inout some RandomNumberGenerator) -> [UInt8] {
        let type = [0, 8, 128, 129, 127, 130, 9, 14].randomElement(using: &generator) ?? 8
        let bytes: [UInt8] = [UInt8(type), 0, 0, 0, 0x12, 0x34, 0, 7, 1, 2, 3, 4]
        return Array(bytes.prefix([12, 12, 12, 8, 7, 6, 5].randomElement(using: &generator) ?? 12))
    }

    /// Gives one frame in four a random byte or a random end.
    private static func distort(
        _ bytes: inout [UInt8], with generator: inout some RandomNumberGenerator
    ) {
        switch Int.random(in: 0..<12, using: &generator) {
        case 0: bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &generator)))
        case 1:
            bytes[Int.random(in: 0..<bytes.count, using: &generator)] =
                UInt8.random(in: 0...255, using: &generator)
        case 2:
            let offset = Int.random(in: 12..<24, using: &generator)
            bytes[offset] = UInt8.random(in: 0...255, using: &generator)
        default: break
        }
    }
}
