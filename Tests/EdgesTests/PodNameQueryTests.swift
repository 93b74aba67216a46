import Edges
import Addressing
import Testing

@Suite("The name of an edge's pod")
struct UnnamedEdgeTests {
    private static let second: UInt64 = 1_000_000_000
    private typealias Written = (attachment: CachedAttachment, writtenAt: UInt64)

    private func edge(
        _ interface: String = "veth1", mac: String? = "02:00:00:00:00:01",
        at addresses: [String] = ["10.244.1.7"], cameAt: UInt64? = nil
    ) -> PodNameQuery {
        PodNameQuery(
            incarnation: 1, interface: interface, podMAC: mac.flatMap { MACAddress($0) },
            podAddresses: Set(addresses.compactMap { IPAddress($0) }), cameAt: cameAt)
    }

    private func written(
        _ name: String, at seconds: UInt64, macs: [String] = ["02:00:00:00:00:01"],
        _ addresses: [String] = ["10.244.1.7"], on node: [String] = ["cni0", "veth1"]
    ) throws -> Written {
        let pod = try #require(PodName(namespace: "shop", name: name))
        return (
            CachedAttachment(
                pod: pod, macs: Set(macs.compactMap { MACAddress($0) }),
                addresses: Set(addresses.compactMap { IPAddress($0) }), nodeInterfaces: Set(node)),
            seconds * Self.second
        )
    }

    @Test("is that of the attachment with its MAC and one of its addresses")
    func match() throws {
        let attachments = try [
            written("other", at: 9, macs: ["02:00:00:00:00:02"], ["10.244.1.8"], on: ["veth2"]),
            written("web-1", at: 5, ["10.244.1.7", "fd00::7"]),
        ]
        #expect(edge().name(among: attachments)?.description == "shop/web-1")
        #expect(edge(mac: nil).name(among: attachments)?.name == "web-1")
        #expect(edge(at: ["fd00::7"]).name(among: attachments)?.name == "web-1")
        #expect(edge(at: []).name(among: attachments)?.name == "web-1")
        #expect(edge("renamed").name(among: attachments)?.name == "web-1")
    }

    @Test("is not that of another pod whose interface had the same name")
    func interfaceAlone() throws {
        let attachments = try [
            written("old", at: 5, macs: ["02:00:00:00:00:02"], ["10.244.1.8"]),
            written("same-address", at: 5, macs: ["02:00:00:00:00:02"]),
            written("same-mac", at: 5, ["10.244.1.8"]),
            written("nothing", at: 5, macs: [], []),
        ]
        #expect(edge().name(among: attachments) == nil)
        #expect(edge(mac: nil, at: []).name(among: attachments) == nil)
    }

    @Test("is the newest where several may be, or the one that knows the interface")
    func newest() throws {
        let attachments = try [
            written("older", at: 5, on: []), written("newer", at: 7, on: []),
            written("oldest", at: 3, on: []),
        ]
        #expect(edge().name(among: attachments)?.name == "newer")
        let known = try written("known", at: 4)
        #expect(edge().name(among: attachments + [known])?.name == "known")
    }

    @Test("is not that of a pod that was there before the edge came")
    func stale() throws {
        let attachments = try [written("stale", at: 100)]
        #expect(edge(cameAt: nil).name(among: attachments)?.name == "stale")
        #expect(edge(cameAt: 200 * Self.second).name(among: attachments) == nil)
        #expect(edge(cameAt: 99 * Self.second).name(among: attachments)?.name == "stale")
        // The agent may be a little late.
        #expect(edge(cameAt: 105 * Self.second).name(among: attachments)?.name == "stale")
        // Anybody can give a file any time.
        let timeless = [(attachment: attachments[0].attachment, writtenAt: UInt64.max)]
        #expect(edge(cameAt: .max).name(among: timeless)?.name == "stale")
        #expect(edge(cameAt: 1).name(among: timeless)?.name == "stale")
    }

    @Test("is looked for at once, a few times more, and again when the pod is another one")
    func agenda() {
        var agenda = PodNameSchedule()
        #expect(agenda.dueAt == nil)
        var tries: [UInt64] = []
        for tenth in 0..<UInt64(1000) {
            let now = tenth * Self.second / 10
            agenda.follow([edge()], now: now)
            if agenda.takeDue(now: now) == [edge()] { tries.append(tenth) }
        }
        #expect(tries == [0, 1, 3, 10, 30, 100, 300] && agenda.dueAt == nil)
        agenda.follow([edge(at: ["10.244.1.9"])], now: 7)
        #expect(agenda.dueAt == 7)
        agenda.follow([], now: 8)
        #expect(agenda.dueAt == nil && agenda.takeDue(now: .max).isEmpty)
    }
}
