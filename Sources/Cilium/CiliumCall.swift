package import Addressing

/// A call to a service as Cilium's tables have it: its key, and what stands behind the key.
package enum CiliumCall {
    /// Writes the key of a call from a client to a service (`struct ipv4_ct_tuple` and `ipv6_ct_tuple`).
    ///
    /// The addresses are as the call's first packet has them, and the ports the other way round: a
    /// tuple of a service is made for the way of its replies, and its ports come from the packet.
    package static func writeKey(of call: FlowKey, to key: inout [UInt8]) {
        key.removeAll(keepingCapacity: true)
        append(call.destination, to: &key)
        append(call.source, to: &key)
        key.append(bigEndian: call.sourcePort)
        key.append(bigEndian: call.destinationPort)
        key.append(call.transport)
        key.append(serviceFlag)
    }

    /// `TUPLE_F_SERVICE`: the entry tells which backend the call got.
    private static let serviceFlag: UInt8 = 4

    private static func append(_ address: IPAddress, to key: inout [UInt8]) {
        switch address.family {
        case .ipv4: key.append(bigEndian: UInt32(truncatingIfNeeded: address.low))
        case .ipv6:
            key.append(bigEndian: address.high)
            key.append(bigEndian: address.low)
        }
    }

    /// Reads the number of the backend from an entry (`struct ct_entry`).
    ///
    /// - Returns: nil if the call has none, or the entry is no such structure.
    package static func backendNumber(in entry: RawSpan) -> UInt32? {
        guard entry.byteCount >= backendOffset + 8 else { return nil }
        // As the processor has it, which is little-endian on all that Cilium supports.
        let number = entry.uint64(at: backendOffset).byteSwapped
        return number == 0 ? nil : UInt32(exactly: number)
    }

    private static let backendOffset = 8

    /// Writes the key of a backend, which is its number.
    package static func writeKey(ofBackend number: UInt32, to key: inout [UInt8]) {
        key.removeAll(keepingCapacity: true)
        key.append(bigEndian: number.byteSwapped)
    }

    /// Makes the flow of a call from the backend that it got.
    ///
    /// - Returns: nil if the backend has addresses of the other family.
    package static func flow(of call: FlowKey, to backend: CiliumBackend) -> TrackedFlow? {
        let family = call.source.family
        guard backend.address.family == family else { return nil }
        let isItself = backend.address == call.source
        return TrackedFlow(
            original: call,
            reply: FlowKey(
                transport: call.transport, source: backend.address,
                destination: isItself ? substitute(family) : call.source,
                sourcePort: backend.port, destinationPort: call.sourcePort))
    }

    /// The address that a pod sees as its client where it gets a call of its own.
    ///
    /// Cilium puts it in the client's place, so the call counts as masqueraded.
    private static func substitute(_ family: IPAddress.Family) -> IPAddress {
        family == .ipv4
            ? IPAddress(ipv4: 0xa9fe_2a01) : IPAddress(ipv6High: 0xfe80_0000_0000_0000, low: 1)
    }
}

/// A backend as Cilium's tables have it (`struct lb4_backend` and `lb6_backend`).
package struct CiliumBackend: Equatable, Sendable {
    /// Its address.
    package let address: IPAddress
    /// Its port.
    package let port: UInt16

    /// Reads a backend from a value; nil if it has no address or port, or is cut.
    package init?(_ family: IPAddress.Family, in value: RawSpan) {
        guard value.byteCount >= family.byteCount + 2 else { return nil }
        address = IPAddress(family, value, at: 0)
        port = value.uint16(at: family.byteCount)
        guard address.high != 0 || address.low != 0, port != 0 else { return nil }
    }
}
