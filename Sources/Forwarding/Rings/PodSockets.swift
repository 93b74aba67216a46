package import Edges
package import Linux
import Log
package import Logging
import Observation
import Synchronization
package import Taps
import Time

/// The source of sockets inside pods, for all captures of an agent.
///
/// Each kind of failure has a line in the log, with what to do about it.
package final class PodSockets: Sendable {
    private let client: PodSocketClient
    private let logger: Logger
    private let onFailure: @Sendable (PodSocketFailure.Reason) -> Void
    private let failures = Mutex<[PodSocketFailure.Reason: FailureLogThrottle]>([:])

    /// A source that asks the opener.
    ///
    /// - Parameters:
    ///   - client: The connection to the opener.
    ///   - logger: Gets what a person should know.
    ///   - onFailure: Is called with the reason of each failure.
    package init(
        _ client: PodSocketClient, logger: Logger,
        onFailure: @escaping @Sendable (PodSocketFailure.Reason) -> Void = { _ in }
    ) {
        (self.client, self.logger, self.onFailure) = (client, logger, onFailure)
    }

    /// Opens a packet socket inside the pod behind an edge.
    ///
    /// Waits for the opener, at most a second.
    package func open(
        _ tap: PodTap, behind edge: Edge
    ) throws(PodSocketFailure) -> Descriptor {
        do throws(PodSocketFailure) {
            let socket = try client.open(
                PodSocketRequest(
                    hostIndex: tap.hasHostEnd ? edge.point.interfaceIndex : 0,
                    namespaceID: tap.namespaceID,
                    podIndex: tap.podIndex), in: tap.file)
            noteSuccess()
            return socket
        } catch {
            note(error, edge, hasHostEnd: tap.hasHostEnd)
            throw error
        }
    }

    private func note(_ failure: PodSocketFailure, _ edge: Edge, hasHostEnd: Bool) {
        onFailure(failure.reason)
        // A pod that has gone is no failure.
        guard failure.reason != .gone else { return }
        let metadata = failures.withLock {
            $0[failure.reason, default: FailureLogThrottle()].recordFailure(
                failure.reason.rawValue, now: .now)
        }
        guard var metadata else { return }
        metadata["edge"] = "\(edge.name)"
        metadata["reason"] = "\(failure)"
        let loss =
            hasHostEnd
            ? "edges that should be captured inside their pods are captured at the host's ends"
            : "interfaces that have no end in the node are not captured"
        logger.warning("\(loss): \(failure.advice)", metadata: metadata)
    }

    private func noteSuccess() {
        let count = failures.withLock { failures in
            [.opener, .answer].reduce(0) { $0 + (failures[$1]?.recordSuccess() ?? 0) }
        }
        if count > 0 { logger.info("the opener opens sockets inside pods again") }
    }
}
