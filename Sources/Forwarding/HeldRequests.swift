package import Addressing
package import Observation
package import PacketRing
package import Packets
package import Time

/// The requests that wait for an answer, with copies of their frames.
///
/// `RequestTable` decides about them. Frames of up to 128 bytes, which nearly all requests are, and
/// longer ones are kept apart.
package struct HeldRequests {
    private(set) var table = RequestTable()
    /// What belongs to each slot of the table.
    private var records: [Record] = []
    /// The counters of the edges at which frames were seen; nil where an edge is gone.
    private var edges: [EdgeTally?] = []
    /// The edge at which a frame was held last, at which most likely the next one is held.
    private var lastEdge = 0
    private var shortFrames = FrameCells(
        byteCount: shortByteCountMax, countMax: RequestTable.countMax)
    private var longFrames = FrameCells(byteCount: byteCountMax, countMax: longCellCountMax)
    /// The forms of the frames that are reported in another one, by their slots.
    private var forms: [Int: Form] = [:]

    /// A SYN with all of its options has 94 bytes over IPv6, an ordinary ping 118.
    private static let shortByteCountMax = 128
    /// The longest frame that is held: it holds a SYN with data, and each ping of an ordinary MTU.
    ///
    /// Both edges of a request must come to the same result, so it does not depend on what is held.
    package static let byteCountMax = 2048
    /// The most frames longer than 128 bytes that are held: 2 MiB.
    package static let longCellCountMax = 1024

    /// What belongs to a slot of the table.
    ///
    /// Plain numbers: counting references takes longer than all else that is done to a request.
    private struct Record {
        let details: Packet.Details
        /// The place of the edge's counters in `edges`.
        let edge: Int32
        let byteCount: Int32
        let cell: Int32
        let hasForm: Bool
        /// Whether a frame is in the slot, and not only an answer, or nothing.
        var isTaken = true
    }

    /// The form in which a frame of a call to a service is reported.
    package struct Form {
        /// The change into that form, if it is known.
        package let translation: Translation?
        /// The call, if its backend was not known when the frame came.
        package let unknownCall: FlowKey?

        package init(translation: Translation?, unknownCall: FlowKey?) {
            (self.translation, self.unknownCall) = (translation, unknownCall)
        }
    }

    package init() {}

    /// Whether a frame is short enough to be held, which one that a block has cut never is.
    package static func canHold(_ packet: borrowing Packet) -> Bool {
        packet.bytes.byteCount <= byteCountMax
    }

    /// The number of frames that are held.
    package var count: Int { table.count }

    /// Holds a request; see `RequestTable.hold`.
    package mutating func hold(
        _ packet: borrowing Packet, _ key: RequestKey, at edge: RequestEdge,
        isOtherEdgeHere: Bool, isPassedOn: Bool, _ form: Form?, _ counters: EdgeTally,
        now: MonotonicTime
    ) -> RequestTable.Holding {
        guard hasRoom(for: packet) else { return .full }
        let holding = table.hold(
            key, at: edge, isOtherEdgeHere: isOtherEdgeHere,
            on: packet.details.interfaceIndex, isPassedOn: isPassedOn,
            seenAt: packet.details.nanosecondsSince1970, now: now)
        if case .held(let slot) = holding {
            store(packet, in: slot, form, counters)
        }
        return holding
    }

    /// Holds a reset, unless it is too long; see `RequestTable.holdReset`.
    package mutating func holdReset(
        _ packet: borrowing Packet, _ key: RequestKey, _ form: Form?, _ counters: EdgeTally,
        now: MonotonicTime
    ) -> RequestTable.Holding {
        guard hasRoom(for: packet) else { return .full }
        let holding = table.holdReset(
            key, seenAt: packet.details.nanosecondsSince1970, now: now)
        if case .held(let slot) = holding {
            store(packet, in: slot, form, counters)
        }
        return holding
    }

    private func hasRoom(for packet: borrowing Packet) -> Bool {
        // A reset may have as much data as its sender likes.
        guard Self.canHold(packet) else { return false }
        return Self.isShort(packet.bytes.byteCount) ? !shortFrames.isFull : !longFrames.isFull
    }

    private static func isShort(_ byteCount: Int) -> Bool { byteCount <= shortByteCountMax }

    private mutating func store(
        _ packet: borrowing Packet, in slot: Int, _ form: Form?, _ counters: EdgeTally
    ) {
        let byteCount = packet.bytes.byteCount
        let cell =
            Self.isShort(byteCount)
            ? shortFrames.store(packet.bytes) : longFrames.store(packet.bytes)
        // `hasRoom` has said so.
        guard let cell else { return }
        let record = Record(
            details: packet.details, edge: index(of: counters),
            byteCount: Int32(truncatingIfNeeded: byteCount), cell: cell, hasForm: form != nil)
        if slot < records.count {
            records[slot] = record
        } else {
            fillRecords(to: slot, with: record)
        }
        if let form { forms[slot] = form }
    }

    /// Adds records until there is one for a slot; the table gives slots to answers as well.
    @inline(never)
    private mutating func fillRecords(to slot: Int, with record: Record) {
        var nothing = record
        nothing.isTaken = false
        while records.count < slot { records.append(nothing) }
        records.append(record)
    }

    private mutating func index(of counters: EdgeTally) -> Int32 {
        if lastEdge >= edges.count || edges[lastEdge] !== counters {
            lastEdge = place(of: counters)
        }
        return Int32(truncatingIfNeeded: lastEdge)
    }

    @inline(never)
    private mutating func place(of counters: EdgeTally) -> Int {
        if let known = edges.firstIndex(where: { $0 === counters }) { return known }
        if let free = edges.firstIndex(where: { $0 == nil }) {
            edges[free] = counters
            return free
        }
        edges.append(counters)
        return edges.count - 1
    }
}

extension HeldRequests {
    /// A frame that waits no longer.
    package struct Released {
        package let fate: RequestTable.Release.Fate
        package let slot: Int
        /// The counters of the edge at which the frame was seen.
        package let counters: EdgeTally
        package let form: Form?
        package let isPassedOn: Bool
    }

    /// Calls a function of the table that releases a frame, and returns that frame.
    package mutating func release(
        _ next: (inout RequestTable) -> RequestTable.Release?
    ) -> Released? {
        guard let release = next(&table) else { return nil }
        let slot = release.slot
        guard records[slot].isTaken, let counters = edges[Int(records[slot].edge)] else {
            return nil
        }
        records[slot].isTaken = false
        if Self.isShort(Int(records[slot].byteCount)) {
            shortFrames.giveBack(records[slot].cell)
        } else {
            longFrames.giveBack(records[slot].cell)
        }
        let form = records[slot].hasForm ? forms.removeValue(forKey: slot) : nil
        return Released(
            fate: release.fate, slot: slot, counters: counters, form: form,
            isPassedOn: release.isPassedOn)
    }

    /// Forgets the counters of an edge that is gone, none of whose frames is held.
    package mutating func forget(_ counters: EdgeTally) {
        for index in edges.indices where edges[index] === counters { edges[index] = nil }
    }

    /// The packet that was released last; the next one that is held may overwrite it.
    @_lifetime(borrow self)
    package func packet(_ released: Released) -> Packet {
        let record = records[released.slot]
        let byteCount = Int(record.byteCount)
        return Self.isShort(byteCount)
            ? Packet(record.details, shortFrames.bytes(record.cell, byteCount))
            : Packet(record.details, longFrames.bytes(record.cell, byteCount))
    }

    /// Records an answer; see `RequestTable.record`.
    package mutating func record(
        answerTo key: RequestKey, isReset: Bool, on interfaceIndex: UInt32,
        by answerer: RequestTable.Answerer, seenAt: UInt64, now: MonotonicTime
    ) {
        table.record(
            answerTo: key, isReset: isReset, on: interfaceIndex, by: answerer, seenAt: seenAt,
            now: now)
    }

    /// All slots, taken or not.
    package var slots: Range<Int> { records.indices }

    /// Whether a slot holds a frame that is counted by these counters.
    package func isCounted(_ slot: Int, by counters: EdgeTally) -> Bool {
        records[slot].isTaken && edges[Int(records[slot].edge)] === counters
    }
}
