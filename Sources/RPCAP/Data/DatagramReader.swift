import Addressing

/// A reader of packets in datagrams that trusts none of the lengths in them.
///
/// It understands two forms, which differ in their type: one packet in a datagram, as the protocol
/// has it, and udpstr, a stream of packets cut into numbered datagrams, as ExtraHop's daemons send
/// it. The numbers in both show losses. The reader holds at most one incomplete packet.
package struct DatagramReader: Sendable {
    /// The counts of datagrams that were read and of those that are missing.
    package struct Counts: Equatable, Sendable {
        package var datagrams: UInt64 = 0
        /// Datagrams of a stream that never came.
        package var lostDatagrams: UInt64 = 0
        /// Packets whose numbers never came.
        package var lostPackets: UInt64 = 0
        /// Datagrams that made no sense.
        package var notUnderstood: UInt64 = 0

        package init() {}
    }

    package private(set) var counts = Counts()
    private let snaplen: Int
    /// The packet that continues in the next datagram: its header, and a part of its frame.
    private var partial: [UInt8] = []
    private var nextSequence: UInt32 = 0
    private var missing = MissingDatagrams()
    private var nextNumber: UInt32 = 1

    /// A number at most this far behind the expected one is late; farther, the sender has restarted.
    fileprivate static let reorderedCountMax: UInt32 = 4096

    /// Creates a reader that refuses frames longer than the capture's snap length.
    package init(snaplen: Int) {
        self.snaplen = snaplen
    }

    /// Calls `body` with each packet that the datagram holds or completes.
    ///
    /// The frame is lent for the call. A datagram that makes no sense is counted, and changes nothing
    /// for the next one.
    package mutating func read(_ datagram: RawSpan, _ body: (PacketRecord, RawSpan) -> Void) {
        counts.datagrams += 1
        guard datagram.byteCount >= MessageHeader.byteCount, datagram.uint8(at: 0) == 0 else {
            counts.notUnderstood += 1
            return
        }
        let isUnderstood =
            switch datagram.uint8(at: 1) {
            case MessageType.packet.rawValue: readPacket(datagram, body)
            case StreamDatagram.type: readStream(datagram, body)
            default: false
            }
        if !isUnderstood { counts.notUnderstood += 1 }
    }
}

extension DatagramReader {
    private mutating func readPacket(
        _ datagram: RawSpan, _ body: (PacketRecord, RawSpan) -> Void
    ) -> Bool {
        let payloadByteCount = Int(datagram.uint32(at: 4))
        guard payloadByteCount >= PacketRecord.packetHeaderByteCount,
            datagram.byteCount >= MessageHeader.byteCount + payloadByteCount
        else { return false }
        let payload = datagram.extracting(
            MessageHeader.byteCount..<MessageHeader.byteCount + payloadByteCount)
        let record = PacketRecord(packetHeader: payload)
        let end = PacketRecord.packetHeaderByteCount + record.byteCount
        guard isPossible(record), end <= payloadByteCount else { return false }
        count(record)
        body(record, payload.extracting(PacketRecord.packetHeaderByteCount..<end))
        return true
    }

    private func isPossible(_ record: PacketRecord) -> Bool {
        record.byteCount <= snaplen && record.microseconds < 1_000_000
    }

    /// Counts the packets missing before one.
    ///
    /// A late packet is no longer missing.
    ///
    /// Senders that do not number have 0 in every packet. With `isLate` it is known to be late,
    /// however far it is behind.
    private mutating func count(_ record: PacketRecord, isLate: Bool = false) {
        guard record.number != 0 else { return }
        let ahead = record.number &- nextNumber
        let behind = nextNumber &- record.number
        if ahead < UInt32(1) << 31 {
            counts.lostPackets += UInt64(ahead)
            nextNumber = record.number &+ 1
        } else if isLate || behind <= Self.reorderedCountMax {
            if counts.lostPackets > 0 { counts.lostPackets -= 1 }
        } else {
            nextNumber = record.number &+ 1
        }
    }

    private mutating func readStream(
        _ datagram: RawSpan, _ body: (PacketRecord, RawSpan) -> Void
    ) -> Bool {
        let sequence = datagram.uint32(at: 4)
        let (ahead, behind) = (sequence &- nextSequence, nextSequence &- sequence)
        if ahead >= UInt32(1) << 31, behind <= Self.reorderedCountMax {
            return readLate(datagram, sequence, body)
        }
        if ahead != 0 { partial.removeAll(keepingCapacity: true) }
        if ahead < UInt32(1) << 31 {
            counts.lostDatagrams += UInt64(ahead)
            missing.add(from: nextSequence, count: ahead)
        } else {
            missing = MissingDatagrams()
        }
        nextSequence = sequence &+ 1
        let first = datagram.uint16(at: 2)
        let start = first == StreamDatagram.noFirst ? datagram.byteCount : Int(first)
        guard (MessageHeader.byteCount...datagram.byteCount).contains(start) else {
            partial.removeAll(keepingCapacity: true)
            return false
        }
        let continues = resume(datagram.extracting(MessageHeader.byteCount..<start), body)
        // If no packet begins here, the incomplete one may continue in the next datagram.
        if first == StreamDatagram.noFirst { return continues }
        let isWhole = partial.isEmpty
        partial.removeAll(keepingCapacity: true)
        guard let end = readRecords(datagram.extracting(start..<datagram.byteCount), body) else {
            return false
        }
        // Known senders never split a header. One that did would be understood.
        partial.append(contentsOf: datagram.extracting(start + end..<datagram.byteCount))
        return continues && isWhole
    }

    /// Reads the whole packets of a datagram that comes behind its successor, unless it is a copy.
    ///
    /// The packets that it shares with its neighbours are gone.
    private mutating func readLate(
        _ datagram: RawSpan, _ sequence: UInt32, _ body: (PacketRecord, RawSpan) -> Void
    ) -> Bool {
        guard missing.remove(sequence) else { return true }
        if counts.lostDatagrams > 0 { counts.lostDatagrams -= 1 }
        let first = datagram.uint16(at: 2)
        guard first != StreamDatagram.noFirst else { return true }
        guard (MessageHeader.byteCount...datagram.byteCount).contains(Int(first)) else {
            return false
        }
        return readRecords(
            datagram.extracting(Int(first)..<datagram.byteCount), isLate: true, body) != nil
    }

    /// Adds bytes to the incomplete packet.
    ///
    /// - Returns: False if there are more bytes than it lacks; it is then dropped.
    private mutating func resume(
        _ bytes: RawSpan, _ body: (PacketRecord, RawSpan) -> Void
    ) -> Bool {
        guard !partial.isEmpty, bytes.byteCount > 0 else { return true }
        let header = PacketRecord.packetHeaderByteCount
        guard partial.count + bytes.byteCount <= header + snaplen else {
            partial.removeAll(keepingCapacity: true)
            return false
        }
        partial.append(contentsOf: bytes)
        guard partial.count >= header else { return true }
        let record = PacketRecord(packetHeader: partial.wire)
        guard isPossible(record), partial.count <= header + record.byteCount else {
            partial.removeAll(keepingCapacity: true)
            return false
        }
        guard partial.count == header + record.byteCount else { return true }
        count(record)
        body(record, partial.wire.extracting(header..<partial.count))
        partial.removeAll(keepingCapacity: true)
        return true
    }

    /// Reads packets that stand back to back.
    ///
    /// - Returns: The offset of the packet that is not whole, or nil if the bytes make no sense.
    private mutating func readRecords(
        _ bytes: RawSpan, isLate: Bool = false, _ body: (PacketRecord, RawSpan) -> Void
    ) -> Int? {
        let header = PacketRecord.packetHeaderByteCount
        var offset = 0
        while bytes.byteCount - offset >= header {
            let rest = bytes.extracting(offset..<bytes.byteCount)
            let record = PacketRecord(packetHeader: rest)
            guard isPossible(record) else { return nil }
            let end = header + record.byteCount
            guard rest.byteCount >= end else { break }
            count(record, isLate: isLate)
            body(record, rest.extracting(header..<end))
            offset += end
        }
        return offset
    }
}

/// The datagrams of a stream that have not come yet and still may.
///
/// A bit for each sequence number modulo 4,096: those farther behind are not taken any more.
private struct MissingDatagrams {
    private var bits = [UInt64](repeating: 0, count: Int(DatagramReader.reorderedCountMax) / 64)

    /// Adds the numbers that were passed over; the one behind them has come.
    mutating func add(from first: UInt32, count: UInt32) {
        let kept = min(count, DatagramReader.reorderedCountMax)
        for step in 0..<kept {
            let (word, bit) = Self.place(first &+ (count - kept) &+ step)
            bits[word] |= bit
        }
        let (word, bit) = Self.place(first &+ count)
        bits[word] &= ~bit
    }

    /// Removes a number.
    ///
    /// - Returns: Whether it was missing.
    mutating func remove(_ sequence: UInt32) -> Bool {
        let (word, bit) = Self.place(sequence)
        defer { bits[word] &= ~bit }
        return bits[word] & bit != 0
    }

    private static func place(_ sequence: UInt32) -> (word: Int, bit: UInt64) {
        let index = sequence % DatagramReader.reorderedCountMax
        return (Int(index / 64), UInt64(1) << UInt64(index % 64))
    }
}
