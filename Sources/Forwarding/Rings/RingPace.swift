import PacketRing
package import Time

/// How soon the kernel hands over a block of a ring that does not fill.
///
/// For that each ring has a timer, which interrupts a processor whether packets come or not. So an edge
/// that says little gets a slow ring. Its packets come later, unless they fill blocks.
package enum RingPace: Sendable {
    /// For an edge that talks: a packet comes after 20 ms at most.
    case quick
    /// For an edge that is silent: a packet comes after 180 ms at most. The timers of 250 such rings
    /// interrupt a node 1,390 times a second.
    case slow

    package var retirementMilliseconds: UInt32 {
        switch self {
        case .quick: Ring.Shape.retirementMilliseconds
        case .slow: 180
        }
    }

    /// The longest time that a packet stays in a block that is not full.
    var retirementMax: Duration {
        Ring.Shape.retirementMax(afterMilliseconds: retirementMilliseconds)
    }
}

extension Ring.Shape {
    package var pace: RingPace {
        retirementMilliseconds < RingPace.slow.retirementMilliseconds ? .quick : .slow
    }

    /// The same ring at a pace.
    func paced(_ pace: RingPace) -> Ring.Shape {
        retiring(afterMilliseconds: pace.retirementMilliseconds)
    }
}

/// Tells an edge that talks from one that is silent, by the blocks that its ring hands over.
package struct TalkMeter {
    /// The times of the last blocks, the last of them last.
    private var last = (MonotonicTime.zero, MonotonicTime.zero)
    private var windowBegin: MonotonicTime
    private var windowCount = 0
    /// The pace that was found right last.
    private var pace = RingPace.quick

    private let window: Duration

    /// How long an edge is watched before it is found silent.
    package static let window = Duration.seconds(30)
    /// The most blocks of a silent edge in a window: a probe each second is two or three packets, which
    /// may be in two blocks.
    private static let silentCountMax = 60
    /// The longest time in which a slow ring hands over three blocks if its edge talks: a probe each
    /// second makes two at most.
    private static let talkTime = Duration.milliseconds(800)

    package init(window: Duration = Self.window, now: MonotonicTime) {
        self.window = window
        windowBegin = now
    }

    /// Records a block with packets.
    ///
    /// - Returns: The pace that is right from now on, if another one was found right before.
    package mutating func recordBlock(now: MonotonicTime) -> RingPace? {
        windowCount += 1
        let isTalk = now - last.0 < Self.talkTime
        last = (last.1, now)
        guard isTalk, pace == .slow else { return nil }
        pace = .quick
        return pace
    }

    /// Looks back at the end of a window.
    ///
    /// - Returns: The pace that is right, if the edge was silent.
    package mutating func look(now: MonotonicTime) -> RingPace? {
        guard now >= windowBegin + window else { return nil }
        let isSilent = windowCount <= Self.silentCountMax
        (windowBegin, windowCount) = (now, 0)
        guard isSilent else { return nil }
        pace = .slow
        return pace
    }
}
