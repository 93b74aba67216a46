import Addressing
import Edges
import Testing

@Suite("The name of an edge's pod")
struct PodNameQueryTests {
    private static let second: UInt64 = 1_000_000_000

    private func edge(
        _ interface: String = "veth1", mac: String? = "02:00:00:00:00:01",
        at addresses: [String] = ["10.244.1.7"], appearedAt: UInt64? = nil
    ) -> PodNameQuery {
        PodNameQuery(
            incarnation: 1, interface: interface, podMAC: mac.flatMap { MACAddress($0) },
            podAddresses: Set(addresses.compactMap { IPAddress($0) }), appearedAt: appearedAt)
    }

    private func written(
        _ name: String, at seconds: UInt64, macs: [String] = ["02:00:00:00:00:01"],
        _ addresses: [String] = ["10.244.1.7"], on node: [String] = ["cni0", "veth1"]
    ) throws -> AttachmentFile {
        let pod = try #require(PodName(namespace: "shop", name: name))
        return AttachmentFile(
            CachedAttachment(
                pod: pod, macs: Set(macs.compactMap { MACAddress($0) }),
                addresses: Set(addresses.compactMap { IPAddress($0) }), nodeInterfaces: Set(node)),
            writtenAt: seconds * Self.second
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
        #expect(edge(appearedAt: nil).name(among: attachments)?.name == "stale")
        #expect(edge(appearedAt: 200 * Self.second).name(among: attachments) == nil)
        #expect(edge(appearedAt: 99 * Self.second).name(among: attachments)?.name == "stale")
        // The agent may be a little late.
        #expect(edge(appearedAt: 105 * Self.second).name(among: attachments)?.name == "stale")
        // Anybody can give a file any time.
        let timeless = [AttachmentFile(attachments[0].attachment, writtenAt: .max)]
        #expect(edge(appearedAt: .max).name(among: timeless)?.name == "stale")
        #expect(edge(appearedAt: 1).name(among: timeless)?.name == "stale")
    }
}
