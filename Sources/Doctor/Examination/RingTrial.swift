import BPF
import Forwarding
package import PacketRing

/// The result of opening a ring.
package enum RingTrial: Sendable {
    case opened(byteCount: Int)
    case failed(Ring.Failure)

    /// Opens the smallest ring of an agent on an interface, keeps no packet, and closes it.
    static func open(on interface: UInt32, tellsOffload: Bool) -> Self {
        do throws(Ring.Failure) {
            let ring = try Ring(
                on: interface, .keepNothing, shape: RingBudget.smallest, tellsOffload: tellsOffload)
            return .opened(byteCount: ring.byteCount)
        } catch {
            return .failed(error)
        }
    }
}
