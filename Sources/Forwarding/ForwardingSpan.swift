import Synchronization

/// The part of time whose frames an agent forwards: all of it, but while it hands over to another one.
///
/// Two agents of a node that see the same frames agree on a moment. One forwards the frames that passed
/// before it, and the other those that passed later. Both settle the rule for all of them, so that what
/// waits for an answer is settled alike on both sides. A frame is before the moment or not by its time
/// stamp, which the kernel makes the same in both agents' rings (`PacketStamps`). It does not for a TCP
/// segment of a pod of this node: that one has two stamps, half a microsecond apart, of which the newer
/// ring's is the earlier one. Such a segment is lost if the moment lies between them, and never doubled.
///
/// Any thread may change it. A forwarder looks at it once for each block.
package final class ForwardingSpan: Sendable {
    private let begin = Atomic<UInt64>(0)
    private let end = Atomic<UInt64>(.max)

    /// The span at a moment, in nanoseconds since 1970.
    package struct Bounds: Equatable, Sendable {
        /// The first moment.
        package let begin: UInt64
        /// The first moment that is not part of it.
        package let end: UInt64

        package init(begin: UInt64, end: UInt64) { (self.begin, self.end) = (begin, end) }

        /// Whether all frames are forwarded.
        package var isUnbounded: Bool { begin == 0 && end == .max }

        /// Whether a frame that passed at a moment is forwarded.
        package func contains(_ nanosecondsSince1970: UInt64) -> Bool {
            begin <= nanosecondsSince1970 && nanosecondsSince1970 < end
        }
    }

    /// Creates a span of all times.
    package init() {}

    /// The span now.
    package var bounds: Bounds {
        Bounds(begin: begin.load(ordering: .relaxed), end: end.load(ordering: .relaxed))
    }

    /// Sets the first moment; `.max` for none at all.
    package func begin(at nanosecondsSince1970: UInt64) {
        begin.store(nanosecondsSince1970, ordering: .relaxed)
    }

    /// Sets the first moment that is not part of it any more; `.max` for never.
    package func end(at nanosecondsSince1970: UInt64) {
        end.store(nanosecondsSince1970, ordering: .relaxed)
    }
}
