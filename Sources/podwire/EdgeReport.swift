import Addressing
import Edges
import Formats
import Netlink
import Observation

/// A node's edges as text.
struct EdgeReport {
    private let node: Node
    private let networks: [IPNetwork]

    /// The report of a node, on which pods' addresses are expected in some networks.
    init(_ node: Node, _ networks: [IPNetwork]) { (self.node, self.networks) = (node, networks) }

    /// The most MAC addresses of an edge in the text; the JSON has all.
    private static let macCountMax = 4

    /// A table, and lines about what it does not show.
    ///
    /// - Parameters:
    ///   - window: The window that each line fits.
    ///   - lineCountMax: The most lines; nil for all.
    /// - Returns: Lines, each with its line end.
    func text(in window: Window, lineCountMax: Int? = nil) -> String {
        guard !node.veths.isEmpty else {
            return window.paragraph(
                """
                This network namespace has no veth, so no pod is connected to it. An agent has to run \
                in the node's network namespace (hostNetwork: true).
                """)
        }
        let sections = [summary, reasons, behindEdges].filter { !$0.isEmpty }
        var below = sections.flatMap { section in
            [""] + section.flatMap { Self.lines($0, window) }
        }
        if let lineCountMax, table.rows.count + 1 + below.count > lineCountMax {
            // Where not all has room, the table gets all but a third, and what it does not need; and
            // blank lines go first.
            below = [""] + below.filter { !$0.isEmpty }
            let tableCount = min(table.rows.count + 1, lineCountMax - lineCountMax / 3)
            let belowCount = max(0, lineCountMax - tableCount)
            if below.count > belowCount {
                let shown = below.prefix(max(0, belowCount - 1))
                below = shown + ["… and \(below.count - shown.count) more lines"]
            }
        }
        let room = lineCountMax.map { $0 - below.count }
        return table.text(in: window, lineCountMax: room) + below.map { $0 + "\n" }.joined()
    }

    private static func lines(_ text: String, _ window: Window) -> [String] {
        Wording.lines(
            text, width: window.width ?? Int.max, hanging: 2, breaksWords: window.width != nil)
    }

    private var table: Table {
        // On most nodes either all pods have names, or none.
        let hasNames = node.veths.contains { $0.pod != nil }
        var table = Table(
            [.word("INTERFACE")] + (hasNames ? [.name("POD", widthMin: 16)] : []) + [
                .text("POD ADDRESSES", widthMin: 32), .word("POD MAC", rank: 1),
                .word("BRIDGE", rank: 2),
                .word("TAP", rank: 3), .word("STATE"),
            ])
        for veth in node.veths {
            let name = hasNames ? [Table.Cell(veth.pod?.description ?? "-")] : []
            table.append(
                [Table.Cell(veth.link.name)] + name + [
                    Table.Cell(addresses(of: veth)), Table.Cell(veth.podMAC?.description ?? "-"),
                    Table.Cell(node.link(veth.link.master)?.name ?? "-"),
                    Table.Cell(veth.isCaptured ? veth.tap.side.rawValue : "-"),
                    Table.Cell(state(of: veth).word, veth.isCaptured ? .none : .faint),
                ])
        }
        return table
    }

    /// How many interfaces are in each state.
    private var summary: [String] {
        let words = node.veths.map { state(of: $0).word }
        let counts = Dictionary(words.map { ($0, 1) }, uniquingKeysWith: +)
        let texts = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
            .map { "\($0.value) \($0.key)" }
        return ["\(Wording.count(node.veths.count, "interface")): \(texts.joined(separator: ", "))"]
    }

    /// The state of a veth in a word or two, and why.
    private func state(of veth: Veth) -> (word: String, reason: String?) {
        let parts = veth.state.split(separator: ":", maxSplits: 1)
        let word = parts[0] == "not captured" ? "left out" : String(parts[0])
        return (word, parts.count > 1 ? String(parts[1].drop { $0 == " " }) : nil)
    }

    /// Why some veths are not captured: a text for each reason.
    private var reasons: [String] {
        var names: [String: [String]] = [:]
        for veth in node.veths {
            let state = state(of: veth)
            guard let reason = state.reason else { continue }
            names["\(state.word) (\(reason))", default: []].append(veth.link.name)
        }
        return names.sorted { $0.key < $1.key }.map { "\($0.key): \(Wording.few($0.value))" }
    }

    /// What lives behind edges beside the pods' own interfaces: a text for each edge.
    private var behindEdges: [String] {
        node.capturedVeths.compactMap { veth in
            let macs = veth.macs.filter { $0 != veth.podMAC }
            let networks = node.networks(behind: veth)
            let more = macs.count > Self.macCountMax
            let parts = [
                ("addresses", veth.otherAddresses.map(\.description)),
                ("networks", networks.map(\.description)),
                (
                    "MACs",
                    macs.prefix(Self.macCountMax).map(\.description)
                        + (more ? ["and \(macs.count - Self.macCountMax) more"] : [])
                ),
            ].filter { !$0.1.isEmpty }.map { "\($0.0) \($0.1.joined(separator: " "))" }
            guard !parts.isEmpty else { return nil }
            return "behind \(veth.link.name): \(parts.joined(separator: "; "))"
        }
    }

    /// The pod's addresses, those outside the pod networks in parentheses.
    ///
    /// Link-local addresses are in the JSON only.
    private func addresses(of veth: Veth) -> String {
        guard let addresses = veth.podAddresses else {
            return veth.isCaptured ? "unknown" : "-"
        }
        let texts = addresses.filter { !$0.isLinkLocalIPv6 }.map { address in
            let isInside = networks.isEmpty || networks.contains { $0.contains(address) }
            return isInside ? "\(address)" : "(\(address))"
        }
        return texts.isEmpty ? "none" : texts.joined(separator: " ")
    }
}
