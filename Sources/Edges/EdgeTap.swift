package import Observation
import Taps

/// Where an edge is to be captured.
package enum EdgeTap: Hashable, Sendable {
    /// At the host's end of its pod's pair.
    case host
    /// Inside the pod.
    case pod(PodTap)

    /// The end of the pair.
    package var side: TapSide {
        switch self {
        case .host: .host
        case .pod: .pod
        }
    }

    /// The place inside the pod, if the edge is to be captured there.
    package var podTap: PodTap? {
        switch self {
        case .host: nil
        case .pod(let tap): tap
        }
    }
}
