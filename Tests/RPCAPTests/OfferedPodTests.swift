import Addressing
import RPCAP
import Testing

@Suite("A pod that an agent offers")
struct OfferedPodTests {
    @Test(
        "is what a description of podwire's agent names",
        arguments: [
            ("the pod shop/web-1 at 10.244.1.2", "shop/web-1", ["10.244.1.2"]),
            ("the pod shop/web-1 at 10.244.1.2, fd00::2", "shop/web-1", ["10.244.1.2", "fd00::2"]),
            (
                "the pod a/b.c at 10.0.0.1, fd00::1 ..., captured inside", "a/b.c",
                ["10.0.0.1", "fd00::1"]
            ),
            ("the pod shop/web-1 at 10.0.0.1, captured inside", "shop/web-1", ["10.0.0.1"]),
            ("the pod shop/web-1", "shop/web-1", []),
            ("the pod shop/web-1, captured inside", nil, []),
            ("the pod at 10.244.1.2", nil, []), ("a pod", nil, []), ("", nil, []),
            ("the pod shop/web at 10.0.0.1, 10.0.0.x, 10.0.0.3", "shop/web", ["10.0.0.1"]),
            ("the pod Shop/web at 10.0.0.1", nil, []), ("the pod shop/we\u{1b}b", nil, []),
            ("the pod shop/wéb at 10.0.0.1", nil, []), ("the pod /web", nil, []),
            ("the pod shop/web/x at 10.0.0.1", nil, []),
            ("the pod \(String(repeating: "a", count: 64))/web", nil, []),
        ] as [(String, String?, [String])])
    func parsed(description: String, name: String?, addresses: [String]) {
        let pod = OfferedPod(Device(name: "veth1", description: description))
        #expect(pod?.name.description == name)
        #expect(pod?.addresses.map(\.description) ?? [] == addresses)
    }

    @Test("has no more addresses than a pod may have")
    func bounded() {
        let many = (1...200).map { "10.0.0.\($0)" }.joined(separator: ", ")
        let pod = OfferedPod(Device(name: "v", description: "the pod a/b at \(many)"))
        #expect(pod?.addresses.count == OfferedPod.addressCountMax)
    }

    @Test(
        "has a name of two parts",
        arguments: [("a/b", true), ("a", false), ("a/b at x", false), ("", false)])
    func fullName(text: String, isName: Bool) {
        #expect((PodName(text) != nil) == isName)
    }
}
