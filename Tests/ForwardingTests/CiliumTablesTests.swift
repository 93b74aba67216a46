import Addressing
import Cilium
import Forwarding
import KernelSupport
import Linux
import Testing
import Time

/// Cilium's tables as the kernel has them, made by bpftool(8).
@Suite("Cilium's tables in the kernel", .needsOwnNetwork, .timeLimit(.minutes(15)))
struct CiliumTablesTests {
    private static let calls: [FlowKey] = [IPAddress.Family.ipv4, .ipv6].flatMap { family in
        [6, 17, 132].map { transport in
            FlowKey(
                transport: transport, source: client(family), destination: service(family),
                sourcePort: 40_000, destinationPort: 80)
        }
    }

    private static func client(_ family: IPAddress.Family) -> IPAddress {
        family == .ipv4
            ? IPAddress(ipv4: 0x0af4_0102) : IPAddress(ipv6High: 0xfd00_0010_0244_0001, low: 2)
    }

    private static func service(_ family: IPAddress.Family) -> IPAddress {
        family == .ipv4
            ? IPAddress(ipv4: 0x0a60_000a) : IPAddress(ipv6High: 0xfd00_0010_0096_0000, low: 10)
    }

    private static func make(
        _ table: CiliumTable, in folder: String, type: String = "lru_hash", moreKeyBytes: Int = 0,
        moreValueBytes: Int = 0
    ) throws {
        try shell(
            """
            bpftool map create \(folder)/\(table.name) type \(type) entries 64 name table \
            key \(table.keyByteCount + moreKeyBytes) value \(table.valueByteCount + moreValueBytes)
            """)
    }

    private static func makeAll(of family: IPAddress.Family, in folder: String) throws {
        for table in CiliumTable.all(of: family) {
            try make(table, in: folder, type: table.content == .backends ? "hash" : "lru_hash")
        }
    }

    /// Stores a call's backend, in the bytes that Cilium's programs write.
    private static func store(
        _ call: FlowKey, backend: UInt32, at address: IPAddress, _ port: UInt16, in folder: String
    ) throws {
        let family = call.source.family
        let connections = CiliumTable(
            family, call.transport == 6 ? .tcpConnections : .otherConnections)
        let ports = [call.sourcePort, call.destinationPort].flatMap { port in
            [UInt8(port >> 8), UInt8(port & 255)]
        }
        let number = (0..<4).map { UInt8(truncatingIfNeeded: backend >> (8 * $0)) }
        let key = call.destination.bytes + call.source.bytes + ports + [call.transport, 4]
        let entry = [UInt8](repeating: 9, count: 8) + number + [UInt8](repeating: 0, count: 44)
        let value =
            address.bytes + [UInt8(port >> 8), UInt8(port & 255), call.transport, 0, 0, 0, 0, 0]
        try shell(
            """
            bpftool map update pinned \(folder)/\(connections.name) key \(hex(key)) value \
            \(hex(entry)) && bpftool map update pinned \
            \(folder)/\(CiliumTable(family, .backends).name) key \(hex(number)) value \(hex(value))
            """)
    }

    @Test("tell the backends of calls, by family and protocol")
    func lookUp() throws {
        try withPinFolder { folder in
            for family in IPAddress.Family.allCases { try Self.makeAll(of: family, in: folder) }
            var tables = CiliumTables(in: folder)
            let changes = tables.refresh(now: .now)
            #expect(changes.map(\.0) == [.ipv4, .ipv6] && changes.allSatisfy { $0.1 == .inUse })
            for (number, call) in Self.calls.enumerated() {
                let before = try tables.flow(of: call, now: .now)
                #expect(before == nil)
                let backend =
                    call.source.family == .ipv4
                    ? IPAddress(ipv4: 0x0af4_0200 + UInt32(number))
                    : IPAddress(ipv6High: 0xfd00_0010_0244_0002, low: UInt64(number))
                try Self.store(
                    call, backend: UInt32(number) + 300, at: backend, 8080, in: folder)
                let flow = try tables.flow(of: call, now: .now)
                #expect(flow?.original == call)
                #expect(flow?.reply.source == backend && flow?.reply.sourcePort == 8080)
                // Its reply's tuple is no call.
                let reply = try tables.flow(of: call.reversed, now: .now)
                #expect(reply == nil)
            }
            // An entry whose backend is gone tells nothing.
            let last = try #require(Self.calls.last)
            try shell(
                """
                bpftool map delete pinned \(folder)/\(CiliumTable(.ipv6, .backends).name) \
                key hex 31 01 00 00
                """)
            let gone = try tables.flow(of: last, now: .now + .seconds(1))
            #expect(gone == nil)
            let canAnswer = [6, 1].map { transport in
                tables.canAnswer(
                    about: FlowKey(
                        transport: transport, source: last.source, destination: last.destination,
                        sourcePort: 1, destinationPort: 1))
            }
            #expect(canAnswer == [true, false])
        }
    }

    /// A shape that is not Cilium's, and what the message says of it.
    struct Shape: Sendable, CustomTestStringConvertible {
        var content = CiliumTable.Content.tcpConnections
        var type = "hash"
        var moreKeyBytes = 0
        var moreValueBytes = 0
        let text: String

        var testDescription: String { text }
    }

    @Test(
        "are refused if one has another shape",
        arguments: [
            Shape(moreKeyBytes: 4, text: "type 1, keys of 18 and values of 56 bytes"),
            Shape(moreValueBytes: 8, text: "type 1, keys of 14 and values of 64 bytes"),
            Shape(
                content: .backends, type: "array",
                text: "type 2, keys of 4 and values of 12 bytes"),
            Shape(
                content: .otherConnections, type: "percpu_hash",
                text: "type 5, keys of 14 and values of 56 bytes"),
        ])
    func shapes(shape: Shape) throws {
        try withPinFolder { folder in
            for table in CiliumTable.all(of: .ipv4) where table.content != shape.content {
                try Self.make(table, in: folder)
            }
            let table = CiliumTable(.ipv4, shape.content)
            try Self.make(
                table, in: folder, type: shape.type, moreKeyBytes: shape.moreKeyBytes,
                moreValueBytes: shape.moreValueBytes)
            var tables = CiliumTables(in: folder)
            _ = tables.refresh(now: .now)
            guard case .refused(let reason, let remedy) = tables.state(of: .ipv4) else {
                Issue.record("\(tables.state(of: .ipv4))")
                return
            }
            #expect(reason.contains(table.name) && reason.contains(shape.text), "\(reason)")
            #expect(remedy.contains("--services untracked"))
            #expect(tables.state(of: .ipv6) == .absent)
            let answer = try tables.flow(of: Self.calls[0], now: .now)
            #expect(answer == nil && !tables.canAnswer(about: Self.calls[0]))
        }
    }

    @Test("are refused if one is missing, or no map")
    func missing() throws {
        try withPinFolder { folder in
            try Self.makeAll(of: .ipv4, in: folder)
            let name = CiliumTable(.ipv4, .backends).name
            try shell("rm \(folder)/\(name)")
            var tables = CiliumTables(in: folder)
            _ = tables.refresh(now: .now)
            guard case .refused(let reason, _) = tables.state(of: .ipv4) else {
                Issue.record("\(tables.state(of: .ipv4))")
                return
            }
            #expect(reason.contains(name) && reason.contains("No such file"))
        }
        let folder = try output(of: "mktemp -d").filter { !$0.isNewline }
        defer { try? shell("rm -r \(folder)") }
        for table in CiliumTable.all(of: .ipv6) { try shell("touch \(folder)/\(table.name)") }
        var tables = CiliumTables(in: folder)
        _ = tables.refresh(now: .now)
        guard case .refused = tables.state(of: .ipv6) else {
            Issue.record("\(tables.state(of: .ipv6))")
            return
        }
    }

    @Test("are followed when they come, are replaced, and go")
    func replaced() throws {
        try withPinFolder { folder in
            let call = Self.calls[0]
            let first = IPAddress(ipv4: 0x0af4_0203)
            let second = IPAddress(ipv4: 0x0af4_0204)
            var now = MonotonicTime.now
            var tables = CiliumTables(in: folder)
            #expect(tables.refresh(now: now).isEmpty && tables.state(of: .ipv4) == .absent)
            try Self.makeAll(of: .ipv4, in: folder)
            // Not before it is time.
            #expect(tables.refresh(now: now + .seconds(29)).isEmpty)
            now = now + .seconds(30)
            #expect(tables.refresh(now: now).map(\.1) == [.inUse])
            try Self.store(call, backend: 1, at: first, 8080, in: folder)
            var answer = try tables.flow(of: call, now: now)
            #expect(answer?.reply.source == first)
            // An upgrade makes new tables, and the old ones are dead.
            for table in CiliumTable.all(of: .ipv4) { try shell("rm \(folder)/\(table.name)") }
            try Self.makeAll(of: .ipv4, in: folder)
            try Self.store(call, backend: 1, at: second, 8080, in: folder)
            answer = try tables.flow(of: call, now: now)
            #expect(answer?.reply.source == first)
            now = now + .seconds(30)
            #expect(tables.refresh(now: now).isEmpty)
            answer = try tables.flow(of: call, now: now)
            #expect(answer?.reply.source == second)
            for table in CiliumTable.all(of: .ipv4) { try shell("rm \(folder)/\(table.name)") }
            now = now + .seconds(30)
            #expect(tables.refresh(now: now).map(\.1) == [.absent])
            answer = try tables.flow(of: call, now: now)
            #expect(answer == nil && !tables.canAnswer(about: call))
        }
    }
}
