import Addressing
import ArgumentParser
import Edges
import Formats
import Glibc
import Linux
import Log
import Logging
import Netlink
import Observation
import Settings

/// `podwire edges`: lists the edges of a node.
struct EdgesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "edges",
        abstract:
            "Lists this node's edges: what an agent here captures, and what it does not.",
        discussion: """
            An edge is the host's end of a pod's veth or netkit pair. For each of the node it prints: \
            its name, the pod's name, addresses and MAC address, the bridge that it is a port of, at \
            which end of the pair an agent captures (TAP: host or pod), and whether it is captured. Why some are not follows below the table. "none" for \
            an address: the pod's interface has none, as when a guest has it; such an edge is \
            captured. A list of what else lives behind edges comes last, if there is anything: \
            addresses of a pod's other interfaces (its loopback, macvlans), networks that the node's \
            routes lead to through a pod, and further MAC addresses, such as those of guests.

            It takes all of the agent's options and variables, and uses --pod-network, --edges, \
            --include-edges, --exclude-edges, --cni-cache, --tap and --netns. Without pod networks every pod's edge \
            counts as captured.

            It needs CAP_NET_ADMIN to learn the pods' addresses. Without it the addresses are \
            unknown, and such edges are captured. Pods have names if root runs it, and if the node's \
            container runtime keeps a cache of CNI results.
            """)

    @Flag(help: "Print JSON: an array with an object for each veth.")
    var json = false

    @Flag(help: "Print the whole list again at each change, until SIGINT or SIGTERM.")
    var watch = false

    @OptionGroup var options: AgentOptions

    func run() throws {
        let settings = try readSettings()
        if settings.selection.podNetworks.isEmpty {
            writeToStandardError(
                """
                podwire edges: without \(Setting.podNetworks.option) or \
                \(Setting.podNetworks.variable) every pod's edge counts as captured\n
                """)
        }
        do {
            if watch { return try follow(settings) }
            let node = try Node.read(
                settings.selection, namesIn: settings.nameFolder, taps: settings.taps)
            try Self.write(text(node, settings.selection))
            if let failure = node.addressFailure {
                let missing = MissingCapability(.netAdmin)
                writeToStandardError("podwire edges: \(failure): \(missing)\n")
            }
        } catch {
            writeToStandardError("podwire edges: \(error)\n")
            throw Exit.systemError
        }
    }

    /// Prints the list now and at each change.
    ///
    /// On a terminal the new list replaces the old one.
    private func follow(_ settings: EdgeListSettings) throws(SystemError) {
        let selection = settings.selection
        Signals.block()
        let stop = try Signals.endEvent(secondsMax: 2)
        let stopNumber = stop.fileDescriptor
        let logger = Logger(label: "podwire") { _ in
            LineLogHandler(level: .warning) { writeToStandardError($0(0)) }
        }
        var monitor = try NodeMonitor(
            selection, namesIn: settings.nameFolder, taps: settings.taps, logger: logger)
        var shown = ""
        var failure: SystemError?
        let show = { (node: Node) in
            // Not every change of a node is one of its edges.
            guard text(node, selection) != shown else { return }
            shown = text(node, selection)
            let clear = !json && isTerminal(STDOUT_FILENO) ? "\u{1b}[H\u{1b}[2J" : ""
            let end = json || !clear.isEmpty ? "" : "\n"
            do throws(SystemError) {
                try Self.write(clear + shown + end)
            } catch {
                // The reader is gone.
                failure = error
                Event.raise(stopNumber)
            }
        }
        show(monitor.node)
        try monitor.run(until: stop.fileDescriptor, publish: show)
        if let failure, failure.errno != .brokenPipe { throw failure }
    }

    private static func write(_ text: String) throws(SystemError) {
        try writeAll(text.utf8, to: STDOUT_FILENO, "standard output")
    }

    private func text(_ node: Node, _ selection: EdgeSelection) -> String {
        json ? node.json.text + "\n" : Self.table(node, selection.podNetworks)
    }

    private func readSettings() throws -> EdgeListSettings {
        try podwire.readSettings(
            of: "edges", options.edges.texts + options.names.texts + options.taps.texts
        ) {
            options, environment throws(SettingFailure) in
            try EdgeListSettings(options: options, environment: environment)
        }
    }

    private static func table(_ node: Node, _ networks: [IPNetwork]) -> String {
        guard !node.veths.isEmpty else {
            return "This network namespace has no veth, so no pod is connected to it. "
                + "An agent has to run in the node's network namespace (hostNetwork: true).\n"
        }
        // On most nodes either all pods have names, or none.
        let hasNames = node.veths.contains { $0.pod != nil }
        let head = [
            "INTERFACE", hasNames ? "POD" : nil, "POD ADDRESSES", "POD MAC", "BRIDGE", "TAP",
            "STATE",
        ].compactMap { $0 }
        let rows = node.veths.map { veth in
            let name = hasNames ? veth.pod?.description ?? "-" : nil
            return [veth.link.name, name].compactMap { $0 } + [
                addresses(of: veth, networks), veth.podMAC?.description ?? "-",
                node.link(veth.link.master)?.name ?? "-",
                veth.isCaptured ? veth.tap.side.rawValue : "-", state(of: veth).word,
            ]
        }
        return Columns.text(head, rows) + reasons(node) + behindEdges(node)
    }

    /// The state of a veth in a word or two, and why.
    private static func state(of veth: Veth) -> (word: String, reason: String?) {
        let parts = veth.state.split(separator: ":", maxSplits: 1)
        let word = parts[0] == "not captured" ? "left out" : String(parts[0])
        return (word, parts.count > 1 ? String(parts[1].drop { $0 == " " }) : nil)
    }

    /// Why some veths are not captured: a line for each reason, or nothing.
    private static func reasons(_ node: Node) -> String {
        var names: [String: [String]] = [:]
        for veth in node.veths {
            let state = state(of: veth)
            guard let reason = state.reason else { continue }
            names["\(state.word) (\(reason))", default: []].append(veth.link.name)
        }
        guard !names.isEmpty else { return "" }
        let texts = names.sorted { $0.key < $1.key }.map { "\($0.key): \(Wording.few($0.value))" }
        return "\n"
            + texts.flatMap { Wording.lines($0, width: outputWidth, hanging: 2) }
            .map { $0 + "\n" }.joined()
    }

    /// The most MAC addresses of an edge in the table; the JSON has all.
    private static let macCountMax = 4

    /// What lives behind edges beside the pods' own interfaces: a few lines for each edge, or nothing.
    private static func behindEdges(_ node: Node) -> String {
        let lines = node.capturedVeths.flatMap { veth -> [String] in
            let macs = veth.macs.filter { $0 != veth.podMAC }
            let networks = node.networks(behind: veth)
            let more = macs.count > macCountMax ? ["and \(macs.count - macCountMax) more"] : []
            let parts = [
                ("addresses", veth.otherAddresses.map(\.description)),
                ("networks", networks.map(\.description)),
                ("MACs", macs.prefix(macCountMax).map(\.description) + more),
            ].filter { !$0.1.isEmpty }.map { "\($0.0) \($0.1.joined(separator: " "))" }
            guard !parts.isEmpty else { return [] }
            let text = "behind \(veth.link.name): \(parts.joined(separator: "; "))"
            return Wording.lines(text, width: outputWidth, hanging: 2)
        }
        return lines.isEmpty ? "" : "\n" + lines.map { $0 + "\n" }.joined()
    }

    /// The pod's addresses, those outside the pod networks in parentheses.
    ///
    /// Link-local addresses are in the JSON only.
    private static func addresses(of veth: Veth, _ networks: [IPNetwork]) -> String {
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
