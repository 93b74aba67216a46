/// A decision about a frame at an edge, with the step of the rule that made it.
package struct Decision: Equatable, Sendable, CustomStringConvertible {
    package let isReported: Bool
    package let step: Step

    package static func report(_ step: Step) -> Self { Self(isReported: true, step: step) }
    package static func refuse(_ step: Step) -> Self { Self(isReported: false, step: step) }

    /// The case of the rule that decided.
    package enum Step: Equatable, Sendable, CaseIterable {
        case ownFeed
        case flooded
        case groupIngress
        case groupFromPod
        case groupFromDevice
        case groupFromElsewhere
        case withoutIP
        case serviceForm
        case serviceWithoutPod
        case masqueraded
        case podForm
        case unexplainedService
        case errorOfNode
        case oneEndIsNoPod
        case noPodFromPod
        case oneEndIsNoPodElsewhere
        case observedEnd
        case itself
        case everyEdge

        /// The step in words.
        package var description: String {
            switch self {
            case .ownFeed: "traffic between a sensor and what is not a pod: the feed itself"
            case .flooded: "not for this pod: a copy that the bridge flooded"
            case .groupIngress: "broadcast or multicast from this pod"
            case .groupFromPod: "broadcast or multicast from a pod: its own edge reports it"
            case .groupFromDevice:
                "broadcast or multicast from the edge's own device: no other edge sees it"
            case .groupFromElsewhere:
                "broadcast or multicast from the node or outside: the first copy is reported"
            case .withoutIP: "no IP header: reported where it enters, and where no pod sent it"
            case .serviceForm: "one end is a service address: the backend's edge reports it"
            case .serviceWithoutPod: "a service without pods behind it: no other edge sees it"
            case .masqueraded:
                "a service call whose backend sees another caller: the backend's edge reports that"
            case .podForm:
                "a service call, observed at the client: reported as the backend's edge would see it"
            case .unexplainedService:
                "a service call that connection tracking does not know: reported as it is, unless the service's known backends all have lower ports"
            case .errorOfNode:
                "an ICMP error about a service call that no pod sends: no other edge sees it"
            case .oneEndIsNoPod: "one end is not a pod: only this edge sees it"
            case .noPodFromPod:
                "one end is not a pod, but a pod of this bridge sent it: that pod's edge reports"
            case .oneEndIsNoPodElsewhere:
                "one pod's address lies outside the pod networks: the other pod's edge reports"
            case .observedEnd: "both ends are pods: the end with the lower port or address reports"
            case .itself: "from a pod to itself: reported where it enters"
            case .everyEdge: "duplicates are wanted: every edge reports"
            }
        }
    }

    package var description: String {
        "\(isReported ? "reported" : "not reported") (\(step.description))"
    }
}
