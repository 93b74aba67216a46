import Edges
package import Settings
import Formats
import BPF
import Linux
import Netlink

/// Checks whether an agent with some settings would do its work on this node, and what is in its way.
///
/// Each check reads what it needs of the node, and then judges by that alone. Nothing on the node is
/// changed. It takes a moment, or some seconds where sensors or the resolver do not answer.
package enum Doctor {
    /// All findings, in the order in which a person would look for the cause of a trouble.
    package static func examine(_ settings: Settings) -> [Finding] {
        Descriptor.raiseCountMax()
        let rights = RightsCheck.current
        let release = KernelRelease.current
        let agents = RunningAgent.all
        var findings = rights.findings
        findings += [settings.capture.placement.finding()].compactMap { $0 }
        findings += KernelCheck.findings(release, restoresWireForm: settings.capture.restoresWireForm)
        do throws(SystemError) {
            let node = try Node.current(settings.edges)
            findings += ring(node, rights, settings)
            findings += examine(node, settings, release, agents)
        } catch {
            findings.append(
                Finding(
                    .failed, "netlink", "the node's interfaces cannot be read: \(error)",
                    meaning: "the agent does not start",
                    remedy: "see that no security profile forbids AF_NETLINK"))
        }
        return findings + SensorCheck.findings(settings)
            + ListenerCheck.findings(settings, agents)
            + [ClockCheck.current.finding]
    }

    private static func ring(_ node: Node, _ rights: RightsCheck, _ settings: Settings) -> [Finding]
    {
        let loopback = node.links.values.first { $0.isLoopback }
        guard rights.held.contains(.netRaw),
            let interface = loopback?.index ?? node.edges.first?.link.index
        else { return [] }
        return [KernelCheck.ring(on: interface, tellsOffload: settings.capture.restoresWireForm)]
    }

    private static func examine(
        _ node: Node, _ settings: Settings, _ release: KernelRelease?, _ agents: [RunningAgent]
    ) -> [Finding] {
        let memory = MemoryCheck(
            memory: .current, descriptorCountMax: Descriptor.countMax, edgeCount: node.edges.count)
        let tracking = TrackingCheck.current
        return memory.findings(settings) + [netlink(node)] + EdgeCheck.findings(node, settings)
            + PodNetworkCheck.findings(node, settings) + dataPath(node, release)
            + OtherCapturesCheck.findings(
                node, agents, isAnswered: settings.http.map(AgentProbe.isAgent) ?? false)
            + tracking.findings(isNeeded: settings.deduplicates)
            + [services(tracking).finding(settings, node.addressPlan(settings))]
    }

    /// Subscribes to what the agent follows.
    private static func netlink(_ node: Node) -> Finding {
        do throws(SystemError) {
            _ = try NetlinkMonitor()
            return .ok(
                "netlink",
                "\(Wording.count(node.links.count, "interface")); changes can be followed")
        } catch {
            return Finding(
                .failed, "netlink", "changes cannot be followed: \(error)",
                meaning: "the agent does not start",
                remedy: "see that no security profile forbids AF_NETLINK")
        }
    }

    private static func dataPath(_ node: Node, _ release: KernelRelease?) -> [Finding] {
        guard node.blindness == nil, !node.edges.isEmpty else { return [] }
        do throws(SystemError) {
            return [DataPathCheck.finding(try DataPathCheck.read(node), release)]
        } catch {
            return [
                Finding(
                    .note, "data path", "cannot be judged: \(error)",
                    meaning: "packets may reach pods where they cannot be captured",
                    remedy: "try again")
            ]
        }
    }

    private static func services(_ tracking: TrackingCheck) -> ServiceNetworkCheck {
        guard tracking.failure == nil else { return ServiceNetworkCheck(flows: nil) }
        do throws(SystemError) {
            var table = try Conntrack()
            let flows = try table.translatedFlows(countMax: ServiceNetworkCheck.flowCountMax)
            return ServiceNetworkCheck(flows: flows)
        } catch {
            // Too busy to be listed; what can be asked flow by flow is another matter.
            return ServiceNetworkCheck(flows: nil)
        }
    }
}
