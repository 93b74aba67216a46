import Addressing
import Explain
import Formats
import Linux
import Log
import Logging
import RPCAP
import Settings

/// Short texts that people and programs write: addresses, networks, numbers, patterns, log lines.
///
/// The first byte chooses the form. A text that is understood is written, and understood again as
/// the same.
enum TextsTarget {
    static let target = FuzzTarget(
        "texts", "addresses, networks, sizes, patterns and descriptions; what the log writes",
        byteCountMax: 1024, check)

    private static func check(_ bytes: [UInt8]) throws(BrokenLaw) {
        var input = FuzzInput(bytes)
        let form = input.byte() % 13
        let text = String(decoding: input.rest(), as: UTF8.self)
        switch form {
        case 0: try checkAddress(text)
        case 1: try checkSame(IPNetwork(text)) { IPNetwork($0) }
        case 2: try checkMAC(text)
        case 3: try checkSame(ProcessorSet(text)) { ProcessorSet($0) }
        case 4: try checkSame(SocketAddress(text)) { SocketAddress($0) }
        case 5: try checkSame(KernelRelease(text)) { KernelRelease($0) }
        case 6: try checkSame(try? HostPort(text)) { try? HostPort($0) }
        case 7: try checkByteCount(text)
        case 8: try checkPattern(text)
        case 9: try checkPacket(text)
        case 10: try checkLog(text)
        case 11: try checkJSON(text)
        default: try checkPod(text)
        }
    }

    private static func checkSame<Value: Equatable & CustomStringConvertible>(
        _ value: Value?, _ read: (String) -> Value?
    ) throws(BrokenLaw) {
        guard let value else { return }
        let text = value.description
        try require(isPrintable(text), "cannot be shown: \(text)")
        try require(read(text) == value, "\(text) is another \(Value.self)")
    }

    /// IPv4 addresses have one form.
    private static func checkAddress(_ text: String) throws(BrokenLaw) {
        guard let address = IPAddress(text) else { return }
        try checkSame(address) { IPAddress($0) }
        try require(
            isPrintable(text) && (address.family == .ipv6 || text == "\(address)"),
            "\(Array(text.utf8)) is taken for \(address)")
    }

    /// A pod that an agent offers can be shown, and is the same in the form that agents write.
    private static func checkPod(_ text: String) throws(BrokenLaw) {
        guard let pod = OfferedPod(Device(name: "", description: text)) else { return }
        try require(
            isPrintable("\(pod.name)") && PodName("\(pod.name)") == pod.name, "\(pod) has no name")
        try require(pod.addresses.count <= OfferedPod.addressCountMax, "\(pod)")
        let addresses = pod.addresses.map(\.description).joined(separator: ", ")
        let written = "the pod \(pod.name)" + (addresses.isEmpty ? "" : " at \(addresses)")
        try require(
            OfferedPod(Device(name: "", description: written)) == pod, "\(written) is another pod")
    }

    /// MAC addresses have one form, in either case.
    private static func checkMAC(_ text: String) throws(BrokenLaw) {
        guard let mac = MACAddress(text) else { return }
        try require(text.lowercased() == "\(mac)", "\(Array(text.utf8)) is taken for \(mac)")
    }

    private static func checkByteCount(_ text: String) throws(BrokenLaw) {
        guard let count = ByteCount(text) else { return }
        try require(count.value <= 1 << 50, "\(count.value)")
        try require(ByteCount("\(count.value)") == count, "\(count.value)")
    }

    /// Compares the matching of patterns with its definition.
    private static func checkPattern(_ text: String) throws(BrokenLaw) {
        let parts = text.split(separator: "\n", maxSplits: 1)
        guard parts.count == 2, parts[0].utf8.count <= 15, parts[1].utf8.count <= 15 else { return }
        let (name, pattern) = (Array(parts[0].utf8), Array(parts[1].utf8))
        try require(
            EdgeSelection.matches(String(parts[0]), String(parts[1]))
                == matches(name[...], pattern[...]),
            "\(parts)")
    }

    private static func matches(_ name: ArraySlice<UInt8>, _ pattern: ArraySlice<UInt8>) -> Bool {
        // What matches up to each place of the pattern, by the places of the name.
        var ends = [true] + [Bool](repeating: false, count: name.count)
        for sign in pattern {
            var next = [Bool](repeating: false, count: name.count + 1)
            for (place, byte) in zip(0..., name) {
                if ends[place], sign == UInt8(ascii: "?") || sign == byte { next[place + 1] = true }
            }
            if sign == UInt8(ascii: "*") {
                let first = ends.firstIndex(of: true) ?? next.count
                next = next.indices.map { $0 >= first }
            }
            ends = next
        }
        return ends[name.count]
    }

    private static func checkPacket(_ text: String) throws(BrokenLaw) {
        let words = text.split(separator: " ").map { String($0) }
        guard let packet = try? DescribedPacket(words: words) else { return }
        try require(isPrintable(packet.description), packet.description)
        let again = try? DescribedPacket(
            words: ["\(packet.transport)", "\(packet.source)", "\(packet.destination)"])
        try require(again == packet, "\(packet), and \(String(describing: again))")
    }

    /// Nothing that is logged begins a line of its own.
    private static func checkLog(_ text: String) throws(BrokenLaw) {
        for format in [LogFormat.text, .json] {
            let line = format.line(
                time: "t", level: .info, message: text,
                metadata: ["a": "\(text)", "b": .array([.string(text)])])
            let isOneLine =
                line.unicodeScalars.dropLast().allSatisfy { !$0.isInvisible }
                && line.unicodeScalars.last == "\n"
            try require(isOneLine, "a line in parts: \(Array(line.utf8))")
        }
    }

    private static func checkJSON(_ text: String) throws(BrokenLaw) {
        let json = JSON.object([(text, .array([.text(text), .null, .number(1), .boolean(true)]))])
            .text
        try require(json.unicodeScalars.allSatisfy { !$0.isInvisible }, "\(Array(json.utf8))")
        // A member's name and its value: four quotes are not escaped.
        var (count, isEscaped) = (0, false)
        for byte in json.utf8 {
            if byte == UInt8(ascii: "\""), !isEscaped { count += 1 }
            isEscaped = byte == UInt8(ascii: "\\") && !isEscaped
        }
        try require(count == 4, "\(count) quotes in \(json)")
        let refusal = Message.refusal(at: Array(text.utf8))
        try require(isPrintable(refusal?.description ?? ""), "\(String(describing: refusal))")
    }
}
