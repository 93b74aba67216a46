import Linux
import Time

extension Handover {
    /// A connection, which loops can hand on.
    final class Line {
        let socket: SequencedSocket

        init(_ socket: consuming SequencedSocket) { self.socket = socket }
    }

    /// An agent's way to the name.
    struct Search {
        /// Whether the agent still leaves the packets to another one that may be there.
        var isNew = true
        /// Until when somebody who cannot be asked may be an agent.
        var heedsUntil: MonotonicTime?
        /// From when on nobody is expected any more who has the name and listens soon.
        private var deniedAt: MonotonicTime?
        /// Until when time stamps are compared with the moment from which this agent forwards.
        var comparesUntil: MonotonicTime?
        /// Until when an agent that has ceded may still have the name.
        var expectsNameUntil = MonotonicTime.zero
        /// The agents that this one has followed; by the connection's end they know that it is gone.
        var lines: [Line] = []
        /// How often this agent has given way to one that has the name.
        var yieldCount = 0

        /// How often an agent that forwards gives way.
        ///
        /// Two agents that begin at the same time need it once. One that has the name and never takes part
        /// must not keep another one from forwarding again and again.
        private static let yieldCountMax = 3
        /// How long a name is about to be free, or to be listened at.
        static let nameWait = Duration.seconds(1)

        /// Records that an agent of this one's user has the name.
        mutating func heedAgent() { (heedsUntil, deniedAt) = (nil, nil) }

        /// Whether somebody has had the name for too long without listening.
        var isNameDenied: Bool {
            mutating get {
                let time = deniedAt ?? .now + Self.nameWait
                deniedAt = time
                return .now >= time
            }
        }

        var mayYield: Bool { yieldCount < Self.yieldCountMax }

        /// Has this agent never give way again.
        mutating func endYielding() { yieldCount = Self.yieldCountMax }

        mutating func keep(_ line: Line) {
            lines = lines.suffix(Self.yieldCountMax) + [line]
        }
    }
}
