import Addressing
package import Time

/// A message between two agents of a node, of which one takes over from the other.
///
/// It has 16 bytes: a word to know it by, the version, the kind, and a number, all big-endian.
package struct HandoverMessage: Equatable, Sendable {
    package let kind: Kind
    /// What the kind says.
    package let value: UInt64

    /// What a message says.
    package enum Kind: UInt16, CaseIterable, Sendable {
        /// A newer agent is here.
        case hello = 1
        /// The older agent is ready to hand over; the number of sensors that it feeds.
        case welcome
        /// The newer agent forwards what passes from a moment on, in nanoseconds since 1970.
        case propose
        /// The older agent forwards what passes before that moment.
        case accept
        /// The older agent goes on.
        case refuse
        /// The newer agent does not forward after all.
        case cancel
        /// The older agent has ended its sessions and let go of its ports; the hash of its revision, 0 for none.
        case ceded
    }

    package static let byteCount = 16
    private static let word: UInt32 = 0x5057_484f
    private static let version: UInt16 = 1

    package init(_ kind: Kind, _ value: UInt64 = 0) { (self.kind, self.value) = (kind, value) }

    /// Reads a message; nil if it is none of this version.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.byteCount, bytes.wire.uint32(at: 0) == Self.word,
            bytes.wire.uint16(at: 4) == Self.version,
            let kind = Kind(rawValue: bytes.wire.uint16(at: 6))
        else { return nil }
        self.init(kind, bytes.wire.uint64(at: 8))
    }

    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(bigEndian: Self.word)
        bytes.append(bigEndian: Self.version)
        bytes.append(bigEndian: kind.rawValue)
        bytes.append(bigEndian: value)
        return bytes
    }
}

/// One moment on both clocks.
package struct HandoverMoment: Sendable {
    package let monotonic: MonotonicTime
    /// Nanoseconds since 1970, as time stamps of packets have them.
    package let wall: UInt64

    package init(_ monotonic: MonotonicTime, wall: UInt64) {
        (self.monotonic, self.wall) = (monotonic, wall)
    }
}

/// What an agent does in a handover.
package enum HandoverAction: Equatable, Sendable {
    case send(HandoverMessage)
    /// Forward what passes from a moment on; `.max` for nothing.
    case beginForwarding(at: UInt64)
    /// Forward nothing that passes from a moment on; `.max` for going on.
    case endForwarding(at: UInt64)
    /// End the sessions, and let go of ports and of the name.
    case cede
    /// Take up again what was ceded.
    case resume
    /// Stop the agent.
    case stop
    /// Close the connection to the other agent, which does not keep to the protocol.
    case disconnect
}

/// How long the steps of a handover take.
package enum HandoverTimes {
    /// From the proposal to the moment.
    ///
    /// The newer agent has seen by then all that a frame after the moment may depend on: requests wait
    /// for 0.6 s, and the ring of a silent edge for 0.18 s.
    package static let lead = Duration.milliseconds(1200)
    /// From the moment on the older agent settles for as long what waits for answers.
    package static let tail = Duration.milliseconds(1200)
    /// The least time before the moment at which the older agent accepts it.
    package static let acceptLeadMin = Duration.milliseconds(300)
    /// The least time before the moment at which the newer agent hears that it is accepted.
    package static let answerLeadMin = Duration.milliseconds(100)
    /// How long after the moment the newer agent compares time stamps with it.
    ///
    /// A frame may stay in a ring for longer than usual while a sensor is slow.
    package static let comparison = Duration.seconds(10)
    /// The time in which an older agent that is there answers.
    package static let greeting = Duration.seconds(10)
    /// After this time the newer agent takes over with one sensor, though the older feeds more.
    package static let patience = Duration.seconds(20)
    /// The wait after a proposal that was refused.
    package static let retry = Duration.seconds(1)
    /// The proposals after whose refusal the newer agent forwards without an agreement.
    ///
    /// An agent agrees to the first one, or to one of the next when the node is busy. Who never does may be
    /// no agent at all.
    package static let withdrawalCountMax = 20
    /// How long an agent that is to stop waits for one that is about to take over.
    package static let stopWait = Duration.seconds(4)
    /// How long after the tail the newer agent waits for the older one's ports.
    package static let ceding = Duration.seconds(3)
}
