import Addressing
import Cilium
import FuzzSupport
import Testing

/// Keys and values of Cilium's tables, against bytes as its programs write them.
@Suite("Cilium's tables")
struct CiliumTests {
    private static let call4 = FlowKey(
        transport: 6, source: IPAddress(ipv4: 0x0af4_0102),
        destination: IPAddress(ipv4: 0x0a60_000a), sourcePort: 40_000, destinationPort: 80)
    private static let call6 = FlowKey(
        transport: 17, source: IPAddress(ipv6High: 0xfd00_0010_0244_0001, low: 2),
        destination: IPAddress(ipv6High: 0xfd00_0010_0096_0000, low: 10), sourcePort: 40_000,
        destinationPort: 53)

    private func translated(_ call: FlowKey, _ value: [UInt8]) -> TrackedFlow? {
        CiliumBackend(call.source.family, in: value.wire).flatMap {
            CiliumCall.flow(of: call, to: $0)
        }
    }

    @Test("have the names and shapes of Cilium 1.13 to 1.18")
    func shapes() {
        let rows = IPAddress.Family.allCases.flatMap(CiliumTable.all).map {
            "\($0.name) \($0.keyByteCount) \($0.valueByteCount)"
        }
        #expect(
            rows == [
                "cilium_ct4_global 14 56", "cilium_ct_any4_global 14 56",
                "cilium_lb4_backends_v3 4 12", "cilium_ct6_global 38 56",
                "cilium_ct_any6_global 38 56", "cilium_lb6_backends_v3 4 24",
            ])
    }

    @Test("have a call's key as a service's programs write it")
    func key() {
        var key: [UInt8] = [1, 2, 3]
        CiliumCall.writeKey(of: Self.call4, to: &key)
        // Service, client, the client's port, the service's port, TCP, TUPLE_F_SERVICE.
        #expect(key == [10, 96, 0, 10, 10, 244, 1, 2, 0x9c, 0x40, 0, 80, 6, 4])
        CiliumCall.writeKey(of: Self.call6, to: &key)
        #expect(
            key == Self.call6.destination.bytes + Self.call6.source.bytes
                + [0x9c, 0x40, 0, 53, 17, 4])
        CiliumCall.writeKey(ofBackend: 0x0102_0304, to: &key)
        #expect(key == [4, 3, 2, 1])
    }

    @Test("tell the backend's number, and that there is none")
    func number() {
        func entry(_ number: [UInt8]) -> [UInt8] {
            [UInt8](repeating: 0xff, count: 8) + number + [UInt8](repeating: 0xff, count: 40)
        }
        #expect(CiliumCall.backendNumber(in: entry([7, 1, 0, 0, 0, 0, 0, 0]).wire) == 0x107)
        #expect(CiliumCall.backendNumber(in: entry([0, 0, 0, 0, 0, 0, 0, 0]).wire) == nil)
        // What does not fit the key of a backend is no number of one.
        #expect(CiliumCall.backendNumber(in: entry([1, 0, 0, 0, 1, 0, 0, 0]).wire) == nil)
        #expect(CiliumCall.backendNumber(in: [UInt8](repeating: 1, count: 15).wire) == nil)
    }

    @Test("tell the backend's address and port")
    func backend() {
        let value4: [UInt8] = [10, 244, 2, 3, 0x1f, 0x90, 6, 0, 0, 0, 0, 0]
        let flow = translated(Self.call4, value4)
        #expect(flow?.original == Self.call4)
        #expect(
            flow?.reply
                == FlowKey(
                    transport: 6, source: IPAddress(ipv4: 0x0af4_0203),
                    destination: Self.call4.source, sourcePort: 8080, destinationPort: 40_000))
        #expect(flow?.isMasqueraded == false && flow?.isPortChanged == false)
        let address = IPAddress(ipv6High: 0xfd00_0010_0244_0002, low: 3)
        let value6 = address.bytes + [0x1f, 0x90, 17, 0, 0, 0, 0, 0]
        #expect(translated(Self.call6, value6)?.reply.source == address)
        #expect(translated(Self.call6, value6)?.reply.sourcePort == 8080)
    }

    @Test("make a call of a pod to itself a masqueraded one")
    func hairpin() {
        for call in [Self.call4, Self.call6] {
            let value = call.source.bytes + [0x1f, 0x90, 0, 0, 0, 0, 0, 0]
            let flow = translated(call, value)
            #expect(flow?.isMasqueraded == true && flow?.reply.source == call.source)
        }
    }

    @Test("are no backends without address or port, or cut")
    func refused() {
        let values: [[UInt8]] = [
            [0, 0, 0, 0, 0x1f, 0x90, 6, 0, 0, 0, 0, 0], [10, 244, 2, 3, 0, 0, 6, 0, 0, 0, 0, 0],
            [10, 244, 2, 3, 0x1f], [],
        ]
        for value in values { #expect(translated(Self.call4, value) == nil) }
        #expect(translated(Self.call6, [UInt8](repeating: 1, count: 17)) == nil)
    }

    @Test("lead from any bytes to a flow of the call that was asked about, or to none")
    func anyBytes() {
        var random = RandomNumbers(19)
        for _ in 0..<20_000 {
            let count = Int.random(in: 0...64, using: &random)
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            if let number = CiliumCall.backendNumber(in: bytes.wire) { #expect(number != 0) }
            for call in [Self.call4, Self.call6] {
                guard let flow = translated(call, bytes) else { continue }
                #expect(flow.original == call && flow.reply.transport == call.transport)
                #expect(flow.reply.source.family == call.source.family)
                #expect(flow.isMasqueraded == (flow.reply.source == call.source))
            }
        }
    }
}
