package import Addressing
package import Edges
package import Filter
package import Forwarding
package import Linux
package import Settings

/// Everything that the checks know of a node, read once.
///
/// Nil stands for what was not read, or could not be.
package struct Examination: Sendable {
    /// The settings of the agent, as far as they can be understood.
    package private(set) var settings: Settings
    /// What was given for them, and what is wrong with it.
    package let examined: ExaminedSettings
    /// The networks that an empty `PODNET` stands for; nil if it is not empty, or they are not known.
    package private(set) var onLinkPodNetworks: OnLinkPodNetworks?

    // What every process may read.

    /// The capabilities of the process, of those that an agent can use.
    package var capabilities: Set<Capability> = []
    /// The number of capabilities that the process has and an agent would give up.
    package var spareCapabilityCount = 0
    /// Whether the process is root: Kubernetes gives capabilities to root alone.
    package var isRoot = false
    /// Whether the process is in a container of Kubernetes.
    package var isInKubernetes = false
    /// The address of Kubernetes' own API, which is a service of the cluster.
    package var kubernetesService: IPAddress?
    /// The kernel's release.
    package var kernel: KernelRelease?
    /// The node's memory, and the container's limit.
    package var memory = Memory(availableByteCount: nil, limitByteCount: nil)
    /// The most descriptors that the process may open.
    package var descriptorCountMax: Int?
    /// Why forwarding threads cannot be placed as the settings say.
    package var placementFailure: ThreadPlacement.Failure?
    /// The clock.
    package var clock: ClockReading?
    /// The agents whose processes can be seen.
    package var agents: [RunningAgent] = []
    /// The state of the port for clients.
    package var clientPort: PortState?
    /// The states of the addresses for metrics and probes, in the order of the settings.
    package var httpPorts: [PortState] = []
    /// The senders that a running agent knows as nobody's.
    package var senders: [UnknownSender]?
    /// The calls to services that a running agent has counted.
    package var serviceCalls: ServiceCalls?
    /// The agent's filter; nil for none.
    package var filter: Result<FilterExpression, FilterFile.Failure>?
    /// The state of the password file.
    package var passwordFile: FileState?
    /// The state of the certificate and its key.
    package var certificate: FileState?
    /// The results of dialling the sensors, in the order of the settings.
    package var sensors: [SensorTrial] = []

    // The node's network, which every process may read; pods' addresses need CAP_NET_ADMIN.

    /// The node's network.
    package var node: Node?
    /// Why the node's network cannot be read or followed.
    package var netlinkFailure: NetlinkFailure?
    /// The packet sockets that receive every packet.
    package var packetSockets: [PacketSocket]?

    /// What is needed to capture inside pods; nil if the settings do not ask for that.
    package var podTaps: Result<PodTapTrial, SystemError>?

    // What needs a capability.

    /// The result of opening a ring; nil without CAP_NET_RAW or an interface.
    package var ring: RingTrial?
    /// The counters of both ends of the edges; nil without CAP_NET_ADMIN or edges.
    package var pairCounters: Result<[PairCounters], SystemError>?
    /// The state of connection tracking.
    package var conntrack: ConntrackState?
    /// The flows that connection tracking translates; nil without CAP_NET_ADMIN.
    package var translatedFlows: [TrackedFlow]?

    /// The state of Cilium's tables, by family.
    package var ciliumTables: [IPAddress.Family: CiliumTables.State]?

    /// An examination of which nothing has been read.
    package init(_ examined: ExaminedSettings) {
        self.examined = examined
        settings = examined.settings
    }

    /// Takes the networks that an empty `PODNET` stands for as the pod networks.
    package mutating func take(_ networks: OnLinkPodNetworks) {
        onLinkPodNetworks = networks
        settings = settings.with(podNetworks: networks.networks)
    }

    /// The settings that the rule is made from.
    var ruleSettings: RuleSettings { RuleSettings(settings) }
}

/// What fails with netlink.
package enum NetlinkFailure: Sendable {
    case listing(SystemError)
    case subscription(SystemError)
}
