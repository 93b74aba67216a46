import BPF
import Linux
import RPCAP
import Time

/// Commands.
extension Forwarder {
    /// What another thread tells the forwarder, which obeys between two turns.
    enum Command: Sendable {
        /// The ring manager has opened, closed or replaced a ring.
        case ring(RingCommand)
        /// Another session has an outlet from now on; reply when it is so.
        case join(TransferBox<Outlet>, Reply)
        /// A session leaves, and others stay: send it what has been captured, and reply.
        case leave(outlet: UInt64, by: MonotonicTime, Reply?)
        /// A session's data connection is there.
        case attach(TransferBox<DataConnection>, outlet: UInt64)
        /// Send a session another part of the packets.
        case sample(Sampling, outlet: UInt64)
        /// Install a session's other filter, and reply whether the kernel takes it.
        case filter(Program?, outlet: UInt64, Reply)
        /// The same with the agent's own filter.
        case agentFilter(Program?, outlet: UInt64, Reply)
        /// Bring the counters up to date with the kernel's, and reply.
        case count(Reply)
        /// The same, with a closure that is called afterwards.
        case countThen(@Sendable () -> Void)
        /// Stop: forward what is there, and end.
        case finish
    }

    /// Carries out commands, in their order.
    func obey(_ commands: [Command]) throws(SendFailure) {
        for command in commands {
            try SendFailure.rethrowing { () throws(SystemError) in try obey(command) }
        }
    }

    private func obey(_ command: Command) throws(SystemError) {
        switch command {
        case .finish: beginFinishing()
        case .ring(let command): try obey(command)
        case .join(let outlet, let reply):
            reply.give(
                error { () throws(SystemError) in if let outlet = outlet.take() { try add(outlet) }
                })
        case .leave(let key, let deadline, let reply): beginLeaving(key, by: deadline, reply)
        case .attach(let connection, let key):
            if let connection = connection.take() { try attach(connection, to: key) }
        case .sample(let sampling, let key): adopt(sampling, of: key)
        case .filter(let filter, let key, let reply):
            reply.give(error { () throws(SystemError) in try adopt(filter, of: key) })
        case .agentFilter(let filter, let key, let reply):
            reply.give(error { () throws(SystemError) in try adopt(agentFilter: filter, of: key) })
        case .count(let reply):
            reply.give(error { () throws(SystemError) in try countKernel(.now) })
        case .countThen(let done):
            // If that fails the next turn finds out.
            try? countKernel(.now)
            done()
        }
    }

    private func error(of body: () throws(SystemError) -> Void) -> SystemError? {
        do throws(SystemError) {
            try body()
            return nil
        } catch {
            return error
        }
    }
}
