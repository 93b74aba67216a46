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
        usage: "podwire edges [--json] [--watch] [<options of podwire agent>]",
        discussion: """
            An edge is the host's end of a pod's veth or netkit pair. For each of the node it prints: \
            its name, the pod's name, addresses and MAC address, the bridge that it is a port of, at \
            which end of the pair an agent captures (TAP: host or pod), and whether it is captured. Why some are not follows below the table. "none" for \
            an address: the pod's interface has none, as when a guest has it; such an edge is \
            captured. A list of what else lives behind edges comes last, if there is anything: \
            addresses of a pod's other interfaces (its loopback, macvlans), networks that the node's \
            routes lead to through a pod, and further MAC addresses, such as those of guests.

            It takes all options of `podwire agent` (--help-hidden lists them) and its variables, and \
            uses --pod-network, --edges, --include-edges, --exclude-edges, --cni-cache, --tap and --netns. Without pod networks \
            every pod's edge counts as captured.

            It needs CAP_NET_ADMIN to learn the pods' addresses. Without it the addresses are \
            unknown, and such edges are captured. Pods have names if root runs it, and if the node's \
            container runtime keeps a cache of CNI results.
            """)

    @Flag(help: "Print JSON: an array with an object for each veth.")
    var json = false

    @Flag(help: "Print the whole list again at each change, until SIGINT or SIGTERM.")
    var watch = false

    @OptionGroup var display: DisplayOptions

    @OptionGroup(visibility: .hidden) var options: AgentOptions

    func run() throws {
        var settings = try readSettings()
        warnOfUnknownVariables(of: "edges")
        if settings.takesOnLinkPodNetworks,
            let onLink = try? OnLinkPodNetworks(reading: settings.selection)
        {
            settings.selection = settings.selection.with(podNetworks: onLink.networks)
        }
        if settings.selection.podNetworks.isEmpty {
            printMessage(
                of: "edges",
                """
                without \(Setting.podNetworks.option) or \(Setting.podNetworks.variable) \
                every pod's edge counts as captured
                """)
        }
        do {
            if watch { return try follow(settings) }
            let node = try Node.read(
                settings.selection, namesIn: settings.nameFolder, taps: settings.taps)
            try writeToStandardOutput(text(node, settings.selection))
            if let failure = node.addressFailure {
                let missing = MissingCapability(.netAdmin)
                printMessage(of: "edges", "\(failure): \(missing)")
            }
        } catch {
            printMessage(of: "edges", "\(error)")
            throw Exit.systemError
        }
    }

    /// Prints the list now and at each change.
    ///
    /// On a terminal the new list replaces the old one, and fits the window.
    private func follow(_ settings: EdgeListSettings) throws(SystemError) {
        let selection = settings.selection
        let hangup = Signals.hangup
        Signals.block(Signals.ofTerminal)
        if !hangup.isEmpty { try Signals.endOnHangup() }
        let view = EdgeView(display, asJSON: json, selection.podNetworks)
        try Signals.onResize(begin: { view.hold() }, end: { view.resume() })
        try Signals.onSuspension(before: { view.leave() }, after: { view.resume() })
        defer { view.leave() }
        let stop = try Signals.endEvent(secondsMax: 2)
        let stopNumber = stop.fileDescriptor
        let logger = Logger(label: "podwire") { _ in
            LineLogHandler(level: .warning) { line in
                view.write { writeToStandardError(line(0)) }
            }
        }
        var monitor = try NodeMonitor(
            selection, namesIn: settings.nameFolder, taps: settings.taps, logger: logger)
        var failure: SystemError?
        let show = { (node: Node) in
            do throws(SystemError) {
                try view.show(node)
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
        json
            ? node.json.text + "\n"
            : EdgeReport(node, selection.podNetworks).text(in: display.window)
    }

    private func readSettings() throws -> EdgeListSettings {
        try podwire.readSettings(
            of: "edges",
            options.required.podNetworks.texts + options.edges.texts + options.names.texts
                + options.taps.texts
        ) {
            options, environment throws(SettingFailure) in
            try EdgeListSettings(options: options, environment: environment)
        }
    }
}
