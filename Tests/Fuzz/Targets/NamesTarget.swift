import Addressing
import Edges
import Formats

/// A file of the cache of CNI results, in which a pod's name stands.
///
/// If the first byte is `{` the input is the file; else its lines are the texts in a file that is
/// whole JSON. Names can be shown, all is bounded, and an attachment that is written in the form of
/// the cache is read again as it was.
enum NamesTarget {
    static let target = FuzzTarget(
        "names", "files of the CNI cache, for the names of pods", byteCountMax: 16_384, check)

    private static func check(_ bytes: [UInt8]) throws(BrokenLaw) {
        let file = bytes.first == UInt8(ascii: "{") ? bytes : Array(file(of: bytes).utf8)
        guard let attachment = CachedAttachment(file) else { return }
        let name = attachment.pod.description
        try require(
            name.utf8.count <= 63 + 1 + 253 && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f },
            "a name that cannot be shown: \(name)")
        try require(
            attachment.macs.count <= 64 && attachment.addresses.count <= 128
                && attachment.nodeInterfaces.count <= 64
                && attachment.nodeInterfaces.allSatisfy { $0.utf8.count <= 15 },
            "more than is kept of a file: \(attachment)")
        try require(
            !attachment.macs.isEmpty || !attachment.addresses.isEmpty, "a pod without an address")
        let again = CachedAttachment(Array(text(of: attachment).utf8))
        try require(
            again == attachment, "\(attachment) is read again as \(String(describing: again))")
    }

    /// A file with the texts of lines, each of which begins with a letter for its place.
    private static func file(of bytes: [UInt8]) -> String {
        var (arguments, interfaces, prefixes): ([JSON], [JSON], [JSON]) = ([], [], [])
        var others: [(String, JSON)] = []
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let text = JSON.text(String(line.dropFirst()))
            switch line.first {
            case "n": arguments.append(.array([.text("K8S_POD_NAMESPACE"), text]))
            case "p": arguments.append(.array([.text("K8S_POD_NAME"), text]))
            case "x": arguments.append(.array([text]))
            case "i": interfaces.append(.object([("name", text)]))
            case "m": interfaces.append(.object([("mac", text), ("sandbox", .text("/s"))]))
            case "a": prefixes.append(.object([("address", text)]))
            case "4": others.append(("ip4", .object([("ip", text)])))
            case "6": others.append(("ip6", .object([("ip", text)])))
            default: others.append((String(line.dropFirst()), .null))
            }
        }
        return JSON.object([
            ("kind", .text("cniCacheV1")), ("cniArgs", .array(arguments)),
            (
                "result",
                .object([("interfaces", .array(interfaces)), ("ips", .array(prefixes))] + others)
            ),
        ]).text
    }

    private static func text(of attachment: CachedAttachment) -> String {
        let arguments = [
            ("K8S_POD_NAMESPACE", attachment.pod.namespace), ("K8S_POD_NAME", attachment.pod.name),
        ].map { JSON.array([.text($0.0), .text($0.1)]) }
        let inside = attachment.macs.map {
            JSON.object([("mac", .text("\($0)")), ("sandbox", .text("/run/netns/pod"))])
        }
        let node = attachment.nodeInterfaces.map { JSON.object([("name", .text($0))]) }
        let addresses = attachment.addresses.map { JSON.object([("address", .text("\($0)/24"))]) }
        return JSON.object([
            ("kind", .text("cniCacheV1")), ("cniArgs", .array(arguments)),
            (
                "result",
                .object([("interfaces", .array(inside + node)), ("ips", .array(addresses))])
            ),
        ]).text
    }
}
