import Addressing
import ObservationFixtures
import Packets

/// What two ends say, whichever they are.
struct Body {
    private let transport: UInt8
    private let ports: (UInt16, UInt16)
    private let flags: UInt8

    init(with generator: inout some RandomNumberGenerator, _ family: IPAddress.Family) {
        let echo: UInt8 = family == .ipv4 ? 1 : 58
        let transports: [UInt8] = [6, 6, 6, 17, 17, 132, 50, echo]
        transport = transports.randomElement(using: &generator) ?? 6
        let all: [UInt16] = [
            80, 443, 30_080, 40_000, 40_001, .random(in: 1...65_535, using: &generator),
        ]
        ports = (
            all.randomElement(using: &generator) ?? 80, all.randomElement(using: &generator) ?? 80
        )
        flags = [0x10, 0x18, 0x02, 0x12, 0x04, 0x14].randomElement(using: &generator) ?? 0x10
    }

    /// What is said in a call to a service or a front.
    init(callWith generator: inout some RandomNumberGenerator) {
        transport = [6, 6, 17, 132].randomElement(using: &generator) ?? 6
        ports = (
            .random(in: 40...60_000, using: &generator),
            [80, 443, 30_080].randomElement(using: &generator) ?? 80
        )
        flags = 0x10
    }

    func flow(_ from: IPAddress, _ to: IPAddress) -> FlowKey {
        let hasPorts = IPProtocol.hasPorts(transport)
        let isEcho = transport == 1 || transport == 58
        return FlowKey(
            transport: transport, source: from, destination: to,
            sourcePort: hasPorts || isEcho ? ports.0 : 0,
            destinationPort: hasPorts ? ports.1 : isEcho ? ports.0 : 0)
    }

    func packet(_ from: IPAddress, _ to: IPAddress) -> [UInt8] { packet(flow(from, to)) }

    func packet(_ flow: FlowKey) -> [UInt8] {
        var bytes = Frame.ports(flow.sourcePort, flow.destinationPort)
        if transport == 6 { bytes[13] = flags }
        if transport == 1 || transport == 58 {
            let type: UInt8 = transport == 1 ? (flags & 4 == 0 ? 8 : 0) : flags & 4 == 0 ? 128 : 129
            bytes =
                [type, 0, 0, 0] + [UInt8(flow.sourcePort >> 8), UInt8(flow.sourcePort & 255), 0, 9]
        }
        return Frame.ip(
            from: flow.source, to: flow.destination, protocol: transport, bytes)
    }
}
