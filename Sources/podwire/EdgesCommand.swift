import Addressing
import ArgumentParser
import Edges
import Formats
import Glibc
import Linux
import Log
import Logging
import Netlink
import Settings

/// `podwire edges`: lists the edges of a node.
struct EdgesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "edges",
        abstract:
            "Lists this node's edges: what an agent here captures, and what it does not.",
        discussion: """
            An edge is the host's end of a pod's veth pair. For each veth of the node it prints: name \
            and index, the pod's name, addresses and MAC address, the id of the pod's network \
            namespace, the bridge that the veth is a port of, and whether the veth is captured or \
            why not. A list of what else lives behind edges follows, if there is anything: addresses \
            of a pod's other interfaces, networks that the node's routes lead to through a pod, and \
            further MAC addresses, such as those of guests.

            It takes all of the agent's options and variables, and uses --pod-network, --edges, \
            --include-edges, --exclude-edges and --cni-cache. Without pod networks every pod's edge \
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
            let node = try Node.read(settings.selection, namesIn: settings.nameFolder)
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
        let stop = try Event()
        let stopNumber = stop.fileDescriptor
        try Signals.onEnd(secondsMax: 2) { Event.raise(stopNumber) }
        let logger = Logger(label: "podwire") { _ in
            LineLogHandler(level: .warning) { writeToStandardError($0(0)) }
        }
        var monitor = try NodeMonitor(selection, namesIn: settings.nameFolder, logger: logger)
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
        try podwire.readSettings(of: "edges", options.edges.texts + options.names.texts) {
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
            "INTERFACE", "INDEX", hasNames ? "POD" : nil, "POD ADDRESSES", "POD MAC", "NAMESPACE",
            "BRIDGE", "STATE",
        ].compactMap { $0 }
        let rows = node.veths.map { veth in
            let name = hasNames ? veth.pod?.description ?? "-" : nil
            return [veth.link.name, "\(veth.link.index)", name].compactMap { $0 } + [
                addresses(of: veth, networks), veth.podMAC?.description ?? "-",
                veth.link.peerNamespace.map { "\($0)" } ?? "-",
                node.link(veth.link.master)?.name ?? "-", veth.state,
            ]
        }
        return Columns.text(head, rows) + behindEdges(node)
    }

    /// The most MAC addresses of an edge in the table; the JSON has all.
    private static let macCountMax = 4

    /// A table of what lives behind edges beside the pods' own interfaces, or nothing.
    private static func behindEdges(_ node: Node) -> String {
        let rows = node.capturedVeths.compactMap { veth -> [String]? in
            let macs = veth.macs.filter { $0 != veth.podMAC }
            let networks = node.networks(behind: veth)
            guard !(macs.isEmpty && networks.isEmpty && veth.otherAddresses.isEmpty) else {
                return nil
            }
            let more = macs.count > macCountMax ? ["and \(macs.count - macCountMax) more"] : []
            return [
                veth.link.name, list(veth.otherAddresses.map(\.description)),
                list(networks.map(\.description)),
                list(macs.prefix(macCountMax).map(\.description) + more),
            ]
        }
        guard !rows.isEmpty else { return "" }
        return "\n" + Columns.text(["BEHIND", "OTHER ADDRESSES", "NETWORKS", "OTHER MACS"], rows)
    }

    private static func list(_ texts: [String]) -> String {
        texts.isEmpty ? "-" : texts.joined(separator: " ")
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
