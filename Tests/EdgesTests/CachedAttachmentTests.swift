import Addressing
import Edges
import FuzzSupport
import ObservationFixtures
import Testing

/// What container runtimes leave behind, in files of the form that libcni writes.
@Suite("An attachment from the cache of CNI results")
struct CachedAttachmentTests {
    /// containerd 1.6 with its go-cni, and the plug-ins bridge and portmap.
    static let containerd = """
        {"kind":"cniCacheV1","containerId":"c0ffee","config":"eyJjbmlWZXJzaW9uIjoiMS4wLjAifQo=",\
        "ifName":"eth0","networkName":"pods","cniArgs":[["K8S_POD_NAMESPACE","shop"],\
        ["K8S_POD_NAME","web-1"],["K8S_POD_INFRA_CONTAINER_ID","c0ffee"],["IgnoreUnknown","1"]],\
        "capabilityArgs":{"portMappings":[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp"}]},\
        "result":{"cniVersion":"1.0.0","dns":{},"interfaces":[{"mac":"c2:58:5b:ea:a8:fd",\
        "name":"cni0"},{"mac":"ce:fb:dc:e0:ad:8c","name":"veth8ffcbb8f"},{"mac":"f2:b7:a3:8c:22:ec",\
        "name":"eth0","sandbox":"/run/netns/pod"}],"ips":[{"address":"10.244.1.7/16",\
        "gateway":"10.244.0.1","interface":2},{"address":"fd00::7/64","interface":2}]}}
        """

    /// CRI-O with ocicni, and a plug-in that names only the interface on the node (Calico).
    private static let crio = """
        {"kind":"cniCacheV1","containerId":"ab12","config":"e30=","ifName":"eth0",\
        "networkName":"k8s-pod-network","netns":"/var/run/netns/x","cniArgs":[["IgnoreUnknown","1"],\
        ["K8S_POD_NAMESPACE","kube-system"],["K8S_POD_NAME","coredns-5d78c9869d-abcde"],\
        ["K8S_POD_INFRA_CONTAINER_ID","ab12"],["K8S_POD_UID","0-1-2"]],"capabilityArgs":{},\
        "result":{"cniVersion":"0.3.1","dns":{},"interfaces":[{"name":"cali12345678901"}],\
        "ips":[{"address":"10.244.9.9/32","version":"4"}]}}
        """

    /// A plug-in of before version 0.3.0.
    private static let oldResult = """
        {"kind":"cniCacheV1","ifName":"eth0","networkName":"n","cniArgs":[["K8S_POD_NAME","a.b"],\
        ["K8S_POD_NAMESPACE","c"]],"result":{"cniVersion":"0.2.0","ip4":{"ip":"10.1.2.3/24",\
        "gateway":"10.1.2.1"},"ip6":{"ip":"fd00::3/64"}}}
        """

    private static func attachment(
        _ namespace: String, _ name: String, macs: [String] = [], _ addresses: [String],
        on node: [String] = []
    ) -> CachedAttachment? {
        PodName(namespace: namespace, name: name).map {
            CachedAttachment(
                pod: $0, macs: Set(macs.compactMap { MACAddress($0) }),
                addresses: Set(addresses.compactMap { IPAddress($0) }), nodeInterfaces: Set(node))
        }
    }

    @Test(
        "is understood as all runtimes write it",
        arguments: [
            (
                containerd,
                attachment(
                    "shop", "web-1", macs: ["f2:b7:a3:8c:22:ec"], ["10.244.1.7", "fd00::7"],
                    on: ["cni0", "veth8ffcbb8f"])
            ),
            (
                crio,
                attachment(
                    "kube-system", "coredns-5d78c9869d-abcde", ["10.244.9.9"],
                    on: ["cali12345678901"])
            ),
            (oldResult, attachment("c", "a.b", ["10.1.2.3", "fd00::3"])),
        ])
    func understood(text: String, attachment: CachedAttachment?) {
        #expect(attachment != nil && CachedAttachment(Array(text.utf8)) == attachment)
    }

    @Test(
        "has no name where the file has none, or is none",
        arguments: [
            "", "{}", "[]", "null", "1", "{\"kind\":", "\u{0}", "{\"kind\":\"cniCacheV1\"}",
            // What libcni wrote before it wrote arguments.
            """
            {"cniVersion":"0.3.1","interfaces":[{"name":"eth0","mac":"f2:b7:a3:8c:22:ec",\
            "sandbox":"/x"}],"ips":[{"version":"4","address":"10.244.1.7/16"}]}
            """,
            containerd.replacing("cniCacheV1", with: "cniCacheV2"),
            // Every pod's loopback.
            containerd.replacing("\"ifName\":\"eth0\"", with: "\"ifName\":\"lo\""),
            containerd.replacing("\"K8S_POD_NAME\",", with: ""),
            containerd.replacing("K8S_POD_NAMESPACE", with: "NAMESPACE"),
            containerd.replacing("web-1", with: "web 1"),
            containerd.replacing("web-1", with: "web/1"),
            containerd.replacing("web-1", with: #"web\n1"#),
            containerd.replacing("web-1", with: ""),
            containerd.replacing("web-1", with: String(repeating: "w", count: 254)),
            containerd.replacing("shop", with: "sh.op"),
            containerd.replacing("shop", with: "SHOP"),
            containerd.replacing("[[", with: "[[7,"),
            containerd.replacing("10.244.1.7/16", with: "10.244.1.7.8").replacing(
                "fd00::7", with: "x"
            )
            .replacing("f2:b7:a3:8c:22:ec", with: "00:00:00:00:00:00"),
            containerd.replacing("\"interfaces\":[", with: "\"interfaces\":[7,"),
            String(repeating: "[", count: 200_000),
            String(repeating: "{\"result\":", count: 20_000),
            containerd + "x", containerd + containerd,
        ])
    func notUnderstood(text: String) {
        #expect(CachedAttachment(Array(text.utf8)) == nil)
    }

    @Test("keeps little of a file that has much")
    func much() throws {
        let interfaces =
            (0..<1000).map { #"{"name":"veth\#($0)"}"# } + [
                #"{"name":"\#(String(repeating: "v", count: 100_000))"}"#
            ]
        let prefixes = (0..<1000).map { #"{"address":"10.244.\#($0 / 250).\#($0 % 250)/16"}"# }
        let text = """
            {"kind":"cniCacheV1","cniArgs":[["K8S_POD_NAMESPACE","a"],["K8S_POD_NAME","b"]],\
            "result":{"interfaces":[\(interfaces.reversed().joined(separator: ","))],\
            "ips":[\(prefixes.joined(separator: ","))]}}
            """
        let attachment = try #require(CachedAttachment(Array(text.utf8)))
        #expect(attachment.addresses.count == 64 && attachment.nodeInterfaces.count == 63)
    }

    @Test("survives whatever is in the file", arguments: Fuzz.seeds)
    func nonsense(seed: UInt64) {
        Fuzz.rounds(from: seed) { seed throws(Fuzz.Complaint) in
            var random = RandomNumbers(seed)
            for _ in 0..<50 {
                // What is understood all the same is a name that can be shown.
                let pod = CachedAttachment(Self.nonsense(&random))?.pod
                guard pod?.description.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) != false else {
                    throw Fuzz.Complaint("a name that cannot be shown")
                }
            }
        }
    }

    /// A file in which some bytes are others, missing, doubled or of some meaning in JSON.
    private static func nonsense(_ random: inout RandomNumbers) -> [UInt8] {
        let originals = [containerd, crio, oldResult]
        let words = [
            "[", "]", "{", "}", "\"", "\\", "\\u", "\\ud800", ":", ",", "null", "1e999", "-",
        ]
        var bytes = Array(originals.randomElement(using: &random)?.utf8 ?? "".utf8)
        for _ in 0..<Int.random(in: 1...8, using: &random) where !bytes.isEmpty {
            let start = Int.random(in: 0..<bytes.count, using: &random)
            let end = min(bytes.count, start + Int.random(in: 0...12, using: &random))
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes[start] = .random(in: 0...255, using: &random)
            case 1: bytes.removeSubrange(start..<end)
            case 2: bytes.insert(contentsOf: bytes[start..<end], at: start)
            default:
                bytes.replaceSubrange(
                    start..<end, with: words.randomElement(using: &random)?.utf8 ?? "".utf8)
            }
        }
        return bytes
    }
}
