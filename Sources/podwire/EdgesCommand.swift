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

struct EdgesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "edges",
        abstract: "Lists this node's edges: the host-side ends of its pods' veth pairs.",
        discussion: """
            For each veth: its name and index, the pod's name, addresses and MAC, the id of the pod's \
            network namespace, the bridge it is a port of, and whether it is captured or why not. \
            It takes the agent's options and variables, and looks at those that say which edges are \
            captured (--pod-network, --edges, --include-edges, --exclude-edges) and where pods have \
            their names (--cni-cache); without pod networks every pod's edge counts as captured. The \
            pods' own addresses need CAP_NET_ADMIN; without it \
            they are unknown, and such edges are captured. Pods have names where the node's \
            container runtime keeps them in its cache of CNI results, and root asks.
            """)

    @Flag(help: "Print JSON: an array with an object for each veth.")
    var json = false

    @Flag(
        help: "Print all of it again whenever something changes, until SIGINT or SIGTERM.")
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

    /// On a terminal the table is drawn anew with each change; elsewhere it is printed again.
    private func follow(_ settings: EdgeListSettings) throws(SystemError) {
        let selection = settings.selection
        Signals.block()
        let stop = try Event()
        let stopNumber = stop.fileDescriptor
        try Signals.onEnd(secondsMax: 2) { Event.raise(stopNumber) }
        let logger = Logger(label: "podwire") { _ in
            LineLogHandler(level: .warning) { writeToStandardError($0(0)) }
        }
        var watch = try NodeMonitor(selection, namesIn: settings.nameFolder, logger: logger)
        var shown = ""
        var failure: SystemError?
        let show = { (node: Node) in
            // Not every change of a node is one of its edges.
            guard text(node, selection) != shown else { return }
            shown = text(node, selection)
            let clear = !json && isTerminal(1) ? "\u{1b}[H\u{1b}[2J" : ""
            let end = json || !clear.isEmpty ? "" : "\n"
            do throws(SystemError) {
                try Self.write(clear + shown + end)
            } catch {
                // Nobody reads any more.
                failure = error
                Event.raise(stopNumber)
            }
        }
        show(watch.node)
        try watch.run(until: stop.fileDescriptor, publish: show)
        if let failure, failure.errno != .brokenPipe { throw failure }
    }

    private static func write(_ text: String) throws(SystemError) {
        try writeAll(text.utf8, to: 1, "standard output")
    }

    private func text(_ node: Node, _ selection: EdgeSelection) -> String {
        json ? node.json.text + "\n" : Self.table(node, selection.podNetworks)
    }

    private func readSettings() throws -> EdgeListSettings {
        try podwire.readSettings("edges", [options.edges, options.names]) {
            options, environment throws(SettingFailure) in
            try EdgeListSettings(options: options, environment: environment)
        }
    }

    private static func table(_ node: Node, _ networks: [IPNetwork]) -> String {
        guard !node.veths.isEmpty else {
            return "This network namespace has no veth, so no pod is connected to it. "
                + "An agent has to run in the node's own (hostNetwork: true).\n"
        }
        // Most nodes tell no names, or all.
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
        return Columns.text(head, rows)
    }

    /// Addresses outside the pod networks are in parentheses; link-local ones are left to `--json`.
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
