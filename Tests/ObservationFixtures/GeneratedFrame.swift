import Addressing

/// A generator of frames that are likely to matter: known addresses, near-equal ports, odd headers.
package enum GeneratedFrame {
    package static func make(with generator: inout some RandomNumberGenerator) -> [UInt8] {
        let pool = Bool.random(using: &generator) ? Site.all4 : Site.all6
        let source = pool.randomElement(using: &generator) ?? Site.a4
        let destination = pool.randomElement(using: &generator) ?? Site.c4
        var bytes = Frame.ethernet(
            to: destinationMAC(with: &generator), from: sourceMAC(with: &generator),
            type: Frame.type(of: source),
            Frame.ip(
                from: source, to: destination, protocol: transport(with: &generator),
                fragment: [0, 0, 0, 0, 0x4000, 0x2000, 0x0010].randomElement(using: &generator)
                    ?? 0,
                payload(with: &generator)))
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

    private static func payload(with generator: inout some RandomNumberGenerator) -> [UInt8] {
        let ports: [UInt16] = [80, 80, 443, 40000, 40001, 255, 256, 0, 65535, 0x0300, 0x8000]
        var bytes = Frame.ports(
            ports.randomElement(using: &generator) ?? 0,
            ports.randomElement(using: &generator) ?? 0,
            more: Int.random(in: 0...12, using: &generator))
        if Int.random(in: 0..<4, using: &generator) == 0 {
            // An ICMP error, perhaps, and what it quotes.
            let quoted = Site.all4.randomElement(using: &generator) ?? Site.a4
            bytes = [
                [3, 11, 5, 8, 1, 128].randomElement(using: &generator) ?? 3, 0, 0, 0, 0, 0, 0, 0,
            ]
            bytes += Frame.ip(
                from: quoted, to: Site.a4, protocol: 17, Frame.ports(53, 40000, more: 4))
        }
        return bytes
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
