import Addressing
import Edges
import Forwarding
import Linux
import Netlink
import Settings
import Time

extension Examination {
    /// Reads everything about the node that a check needs.
    ///
    /// It waits for what it reads: a moment, or up to 15 seconds where sensors or the resolver do
    /// not answer. It changes nothing, and sends nothing but an empty connection to each sensor.
    static func read(_ settings: ExaminedSettings) -> Self {
        Descriptor.raiseCountMax()
        var examination = Self(settings)
        examination.readProcess()
        examination.readNetwork()
        examination.readConntrack()
        examination.readCiliumTables()
        examination.readPeers()
        return examination
    }

    /// What concerns the process and the machine.
    private mutating func readProcess() {
        let capabilities: [Capability] = [.netRaw, .netAdmin, .netBroadcast]
        self.capabilities = Set(capabilities.filter(\.isHeld))
        spareCapabilityCount = Capability.heldCount - settings.capabilities.count(where: \.isHeld)
        isRoot = isSuperuser()
        isInKubernetes = Linux.isInKubernetes
        kubernetesService = examined.kubernetesService
        kernel = .current
        memory = .current
        descriptorCountMax = Descriptor.countMax
        clock = .read()
        agents = RunningAgent.read()
        do throws(FilterFile.Failure) {
            filter = try settings.capture.selection.readFilter().map { .success($0) }
        } catch {
            filter = .failure(error)
        }
        do throws(ThreadPlacement.Failure) {
            try settings.capture.placement.check()
        } catch {
            placementFailure = error
        }
    }

    /// What concerns the node's network.
    private mutating func readNetwork() {
        let node: Node
        do throws(SystemError) {
            let found = try Node.read(settings.edges, taps: settings.taps)
            if settings.takesOnLinkPodNetworks, let networks = OnLinkPodNetworks(found) {
                take(networks)
                node = try Node.read(settings.edges, taps: settings.taps)
            } else {
                node = found
            }
        } catch {
            netlinkFailure = .listing(error)
            return
        }
        self.node = node
        do throws(SystemError) {
            _ = try NetlinkMonitor()
        } catch {
            netlinkFailure = .subscription(error)
        }
        packetSockets = PacketSocket.read()
        podTaps = Self.readPodTaps(settings.taps)
        // On the loopback a ring does no harm.
        let loopback = node.links.values.first { $0.isLoopback }
        if capabilities.contains(.netRaw),
            let interface = loopback?.index ?? node.capturedVeths.first?.link.index
        {
            ring = RingTrial.open(on: interface, tellsOffload: settings.capture.restoresWireForm)
        }
        if node.addressFailure == nil, node.veths.contains(where: \.isBehindPod) {
            let indexes = Set(node.veths.filter(\.isBehindPod).map(\.link.index))
            pairCounters = Result { () throws(SystemError) in
                try PairCounters.read().filter { indexes.contains($0.link.index) }
            }
        }
    }

    private static func readPodTaps(
        _ settings: TapSettings
    ) -> Result<PodTapTrial, SystemError>? {
        guard settings.needsOpener else { return nil }
        do throws(SystemError) {
            return .success(
                try PodTapTrial.read(settings))
        } catch {
            return .failure(error)
        }
    }

    /// What connection tracking says.
    private mutating func readConntrack() {
        let state = ConntrackState.read()
        conntrack = state
        guard state.failure == nil else { return }
        // A table that is too busy to be listed can still be asked flow by flow.
        translatedFlows = try? ConntrackState.readTranslatedFlows()
    }

    /// What Cilium's pins say, if the agent would look there.
    private mutating func readCiliumTables() {
        ciliumTables = [.ipv4: .absent, .ipv6: .absent]
        guard let folder = settings.capture.ciliumFolder else { return }
        var tables = CiliumTables(in: folder)
        for (family, state) in tables.refresh(now: .now) { ciliumTables?[family] = state }
    }

    /// What concerns sensors and clients.
    private mutating func readPeers() {
        sensors = SensorTrial.dial(settings.sensors)
        clientPort = settings.passive.map { passive in
            PortState.read(at: passive.listen) {
                agents.contains { $0.listens(at: passive.listen.port) }
            }
        }
        httpPorts = settings.http.map { address in
            PortState.read(at: address) { AgentProbe.probeAgent(at: address) }
        }
        senders = AgentProbe.readSenders(at: settings.http)
        serviceCalls = AgentProbe.readServiceCalls(at: settings.http)
        passwordFile = settings.passive?.passwordFile.map(FileState.readPasswords)
        certificate = settings.tls.map {
            FileState.readCertificate($0.certificate, key: $0.key)
        }
    }
}

extension Veth {
    /// Whether a pod is behind it that an agent would like to capture.
    fileprivate var isBehindPod: Bool { isCaptured || status == .needsPodTap }
}
