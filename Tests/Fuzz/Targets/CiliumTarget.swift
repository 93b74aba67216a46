import Addressing
import Cilium

/// Entries of Cilium's tables, with any bytes in them.
enum CiliumTarget {
    static let target = FuzzTarget(
        "cilium", "keys and values of Cilium's tables", byteCountMax: 256, check)

    private static func check(_ bytes: [UInt8]) throws(BrokenLaw) {
        guard bytes.count > 40 else { return }
        let family: IPAddress.Family = bytes[0] & 1 == 0 ? .ipv4 : .ipv6
        let call = FlowKey(
            transport: bytes[1], source: IPAddress(family, bytes.wire, at: 2),
            destination: IPAddress(family, bytes.wire, at: 18),
            sourcePort: bytes.wire.uint16(at: 34), destinationPort: bytes.wire.uint16(at: 36))
        var key: [UInt8] = []
        CiliumCall.writeKey(of: call, to: &key)
        let table = CiliumTable(family, .tcpConnections)
        try require(key.count == table.keyByteCount, "a key of \(key.count) bytes")
        try require(key.starts(with: call.destination.bytes) && key.last == 4, "\(key)")
        // Values may be cut, and longer than they should be.
        let value = Array(bytes[38...])
        if let number = CiliumCall.backendNumber(in: value.wire) {
            CiliumCall.writeKey(ofBackend: number, to: &key)
            try require(number != 0 && value[8..<12].elementsEqual(key), "\(number) of \(value)")
            try require(value[12..<16].allSatisfy { $0 == 0 }, "\(number) of \(value)")
        }
        guard let backend = CiliumBackend(family, in: value.wire),
            let flow = CiliumCall.flow(of: call, to: backend)
        else { return }
        try require(flow.original == call, "\(flow) of another call than \(call)")
        try require(value.starts(with: flow.reply.source.bytes), "\(flow) of \(value)")
        try require(flow.reply.destinationPort == call.sourcePort, "\(flow)")
        try require(flow.reply.destination.family == family, "\(flow)")
        try require(flow.isMasqueraded == (flow.reply.source == call.source), "\(flow)")
    }
}
