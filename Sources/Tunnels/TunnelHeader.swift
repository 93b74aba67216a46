/// The protocols in which whole Ethernet frames are sent over UDP.
package enum TunnelProtocol: String, CaseIterable, Hashable, Sendable {
    /// VXLAN (RFC 7348).
    case vxlan
    /// GENEVE (RFC 8926).
    case geneve

    /// The UDP port at which receivers listen by default (IANA's registry).
    package var standardPort: UInt16 {
        switch self {
        case .vxlan: 4789
        case .geneve: 6081
        }
    }
}

/// The header between the UDP header and an Ethernet frame: 8 bytes, the same for all frames.
package struct TunnelHeader: Hashable, Sendable {
    /// The header as a big-endian number.
    package let word: UInt64

    /// The length of a header, without options.
    package static let byteCount = 8
    /// The numbers that a virtual network can have: 24 bits.
    package static let networkRange: ClosedRange<UInt32> = 0...0xff_ffff

    /// The flag of VXLAN which says that the network's number is valid (RFC 7348, 5).
    private static let vxlanStart: UInt64 = 0x0800_0000 << 32
    /// Version 0, no options, no flags, and Ethernet as the payload (RFC 8926, 3.4).
    private static let geneveStart: UInt64 = 0x0000_6558 << 32

    /// Makes the header of a virtual network.
    ///
    /// - Parameters:
    ///   - kind: The tunnel's protocol.
    ///   - network: The virtual network's number (VNI), of which the lowest 24 bits count.
    package init(_ kind: TunnelProtocol, network: UInt32) {
        let start = kind == .vxlan ? Self.vxlanStart : Self.geneveStart
        word = start | UInt64(network & Self.networkRange.upperBound) << 8
    }

    /// Writes the header to an offset, at which there must be room for it.
    @inlinable
    package func store(into target: inout MutableRawSpan, at offset: Int = 0) {
        target.storeBytes(of: word.bigEndian, toByteOffset: offset, as: UInt64.self)
    }
}
