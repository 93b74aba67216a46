package import Time

/// The part of all feeds together that is examined, so that looking costs little however busy they
/// are.
///
/// Each tick examines a number of bytes and remembers a number of records. The busier a tick is, the
/// smaller is the part of its packets that the next tick looks at. A feed that grows gets its share
/// of the looks.
package struct EchoBudget: Sendable {
    private var tickBegin = MonotonicTime.zero
    /// The number of the tick.
    fileprivate(set) var tick = 0
    /// The bytes of a feed of which one frame is examined; 0 for all frames.
    fileprivate(set) var step = 0
    /// One record in 2^`shift` is remembered.
    fileprivate(set) var shift = 0
    /// What this tick has had.
    fileprivate var byteCount = 0
    fileprivate var packetCount = 0
    /// The bytes that this tick has examined.
    package fileprivate(set) var examinedByteCount = 0
    /// The records that this tick has remembered.
    package fileprivate(set) var rememberedCount = 0
    fileprivate var pickCount = 0

    private static let tickTime = Duration.milliseconds(100)
    /// The bytes that a tick is to examine: one thousandth of a second of a processor, or less.
    package static let examinedByteCountPerTick = 400 << 10
    /// The records that a tick is to remember.
    package static let rememberedCountPerTick = 2000
    /// How many times as much a tick takes that is busier than the one before.
    package static let excess = 2
    /// The most records of which one is remembered are 2^this.
    private static let shiftMax = 20

    package init() {}

    /// Begins the next tick if it is time.
    package mutating func advance(now: MonotonicTime) {
        guard now - tickBegin >= Self.tickTime else { return }
        tickBegin = now
        tick &+= 1
        let mean = examinedByteCount / max(1, pickCount)
        // A frame of the mean length for each step makes what is to be examined.
        step =
            byteCount > Self.examinedByteCountPerTick
            ? Int(Double(byteCount) * Double(mean) / Double(Self.examinedByteCountPerTick)) : 0
        shift = Self.shift(of: packetCount, for: Self.rememberedCountPerTick)
        (byteCount, packetCount) = (0, 0)
        (examinedByteCount, pickCount, rememberedCount) = (0, 0, 0)
    }

    /// The least shift by which a number becomes no more than another one.
    fileprivate static func shift(of count: Int, for most: Int) -> Int {
        var shift = 0
        while count >> shift > most, shift < shiftMax { shift += 1 }
        return shift
    }
}

/// The pace at which one feed is examined.
///
/// It is that of all feeds, but a small feed beside large ones gets a few looks of its own.
package struct EchoPace: Sendable {
    private var tick = -1
    private var (step, shift) = (0, 0)
    /// What the feed has had in the tick.
    private var (byteCount, packetCount) = (0, 0)
    /// Bytes since the last frame that was examined, which stands for them.
    private var waitingByteCount = 0

    /// The records of each feed that are remembered in a tick, however busy others are.
    private static let rememberedCountPerTick = 32

    package init() {}

    /// Counts a frame.
    ///
    /// - Returns: The bytes that it stands for if it is to be examined.
    mutating func weight(of frameByteCount: Int, in budget: inout EchoBudget) -> Int? {
        if tick != budget.tick { begin(budget) }
        byteCount += frameByteCount
        packetCount += 1
        budget.byteCount += frameByteCount
        budget.packetCount += 1
        waitingByteCount += frameByteCount
        let most = EchoBudget.excess * EchoBudget.examinedByteCountPerTick
        guard waitingByteCount >= step, budget.examinedByteCount < most else { return nil }
        budget.examinedByteCount += frameByteCount
        budget.pickCount += 1
        defer { waitingByteCount = 0 }
        return waitingByteCount
    }

    /// The number of records that a record stands for, as a power of two; nil if it is not remembered.
    mutating func shift(of number: UInt32, in budget: inout EchoBudget) -> Int? {
        let most = EchoBudget.excess * EchoBudget.rememberedCountPerTick
        guard number & (1 << UInt32(shift) - 1) == 0, budget.rememberedCount < most else {
            return nil
        }
        budget.rememberedCount += 1
        return shift
    }

    private mutating func begin(_ budget: EchoBudget) {
        tick = budget.tick
        step = min(budget.step, byteCount)
        shift = min(
            budget.shift, EchoBudget.shift(of: packetCount, for: Self.rememberedCountPerTick))
        (byteCount, packetCount) = (0, 0)
    }
}
