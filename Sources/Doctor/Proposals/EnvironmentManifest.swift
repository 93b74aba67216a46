import Addressing
import Edges
import Formats
import Linux
import Netlink
import Settings

/// The `env:` list of the DaemonSet in k8s/podwire.yaml, as a node speaks for it.
package struct EnvironmentManifest: Sendable {
    /// The list in YAML: what is set, and what is proposed, each with a comment that says so.
    package let text: String
    /// Whether the list has what an agent needs, and nothing had to be left out of it.
    package let isComplete: Bool

    /// An entry of the list.
    private struct Entry {
        let comment: String
        let setting: Setting
        /// The value; nil for an entry that has to be filled in.
        let value: String?
        /// Whether the value holds for this node alone, so that the entry is a comment.
        var isOfNodeOnly = false

        /// Whether an agent gets a value from the entry.
        var isThere: Bool { value != nil && !isOfNodeOnly }

        var lines: [String] {
            let comment = Wording.visible(comment)
            guard let value else {
                return ["# \(comment)", "# - name: \(setting.variable)", "#   value:"]
            }
            guard !isOfNodeOnly else {
                return [
                    "# \(comment)", "# - name: \(setting.variable)",
                    "#   value: \(EnvironmentManifest.quoted(value))",
                ]
            }
            guard setting != .nodeName else {
                let source = "  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}"
                return ["# \(comment): each node's own", "- name: \(setting.variable)", source]
            }
            return [
                "# \(comment)", "- name: \(setting.variable)",
                "  value: \(EnvironmentManifest.quoted(value))",
            ]
        }
    }

    /// Makes the list.
    package init(_ node: Examination) {
        let entries = Setting.all.compactMap { Self.entry($0, node) }
        // A mistyped name is a setting that the list lacks.
        let mistyped = node.examined.unknownVariables.filter { $0.nearest != nil }
        let lines =
            entries.flatMap { $0.lines.map { "  \($0)" } }
            + mistyped.map { "  # \(Wording.visible("\($0)"))" }
        text = (["env:"] + lines).map { "\($0)\n" }.joined()
        let isThere = { (setting: Setting) in
            entries.contains { $0.setting == setting && $0.isThere }
        }
        isComplete =
            node.examined.faults.isEmpty && mistyped.isEmpty && isThere(.podNetworks)
            && (isThere(.sensors) || isThere(.listen))
    }

    /// A text as a double-quoted scalar of YAML 1.2 in ASCII, which no reader and no terminal changes.
    private static func quoted(_ text: String) -> String {
        let scalars = text.unicodeScalars.map { scalar in
            switch scalar {
            case "\"", "\\": return "\\\(scalar)"
            case " "..."~": return String(scalar)
            default:
                let (mark, width) = scalar.value > 0xffff ? ("U", 8) : ("u", 4)
                let digits = String(scalar.value, radix: 16)
                return "\\\(mark)"
                    + String(repeating: "0", count: max(0, width - digits.count)) + digits
            }
        }
        return "\"\(scalars.joined())\""
    }

    private static func entry(_ setting: Setting, _ node: Examination) -> Entry? {
        let fault = node.examined.faults.first { $0.setting == setting }
        if fault == nil, let given = node.examined.given.first(where: { $0.setting == setting }) {
            let source = given.isOption ? setting.option : setting.variable
            return Entry(
                comment: "set here by \(source)\(caution(setting, node))", setting: setting,
                value: given.text)
        }
        switch setting {
        case .podNetworks: return podNetworks(node)
        case .serviceNetworks: return serviceNetworks(node)
        case .sensors where fault == nil:
            // An agent that clients dial needs no sensor.
            guard node.settings.passive == nil else { return nil }
            return Entry(
                comment: "not set: the sensor, \(setting.form)", setting: setting, value: nil)
        default:
            return fault.map { Entry(comment: oneLine("\($0)"), setting: setting, value: nil) }
        }
    }

    /// A word on what is not the same on every node.
    private static func caution(_ setting: Setting, _ node: Examination) -> String {
        let addresses: [SocketAddress] =
            switch setting {
            case .http: node.settings.http
            case .listen: [node.settings.passive?.listen].compactMap(\.self)
            default: []
            }
        let own = addresses.map(\.address).first { address in
            !address.isLoopback
                && node.node?.addresses.contains { $0.address == address } == true
        }
        guard let address = own else { return "" }
        return "; \(address) is this node's, each node needs its own"
    }

    private static func podNetworks(_ node: Examination) -> Entry {
        guard let proposal = node.podNetworkProposal, !proposal.networks.isEmpty else {
            return Entry(
                comment: "not set, and this node shows no pods: \(Setting.podNetworks.form)",
                setting: .podNetworks, value: nil)
        }
        guard proposal.isOfCluster else {
            return Entry(
                comment: "for this node alone, give the whole cluster's: \(proposal.reason)",
                setting: .podNetworks, value: proposal.value, isOfNodeOnly: true)
        }
        return Entry(
            comment: "proposed: \(proposal.reason)", setting: .podNetworks, value: proposal.value)
    }

    private static func serviceNetworks(_ node: Examination) -> Entry {
        let proposal = node.serviceNetworkProposal
        guard !proposal.networks.isEmpty else {
            return Entry(
                comment: "not set, and nobody calls a service now: \(Setting.serviceNetworks.form)",
                setting: .serviceNetworks, value: nil)
        }
        let seen = node.serviceAddresses.map(\.description)
        return Entry(
            comment:
                "proposed: \(Wording.few(seen)) \(seen.count == 1 ? "is a service" : "are services")",
            setting: .serviceNetworks, value: proposal.value)
    }

    private static func oneLine(_ text: String) -> String {
        text.split(whereSeparator: \.isNewline).joined(separator: " ")
    }
}
