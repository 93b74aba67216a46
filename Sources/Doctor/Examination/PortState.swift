package import Linux

/// Whether the agent could listen at an address.
package enum PortState: Equatable, Sendable {
    case free
    /// An agent listens there already.
    case heldByAgent
    case failed(SystemError)

    /// Tries to listen at an address.
    ///
    /// `isHeldByAgent` finds out, if the address is in use, whether an agent uses it. It may wait.
    static func read(at address: SocketAddress, isHeldByAgent: () -> Bool) -> Self {
        do throws(SystemError) {
            _ = try Listener(at: address)
            return .free
        } catch {
            return error.errno == .addressInUse && isHeldByAgent() ? .heldByAgent : .failed(error)
        }
    }
}
