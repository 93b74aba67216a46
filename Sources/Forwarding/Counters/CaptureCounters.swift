package import Synchronization

/// What became of the frames of one capture. Every count starts with the capture and only grows.
package final class CaptureCounters: Sendable {
    /// All frames, by what became of them.
    package let frames = FrameCounters()
    /// The same of each edge that is captured now, by its interface's incarnation.
    package let edges = Mutex<[UInt64: EdgeCounters]>([:])
    /// Where these go when they are closed.
    let ledger: EdgeMetrics
    /// What goes up and down.
    package let levels = CaptureLevels()
    /// By how many frames the accounts of edges were wrong when they were closed: always none.
    package let framesUnaccounted = Atomic<UInt64>(0)
    /// Frames that user space settled, reported or not.
    package let framesSettled = Atomic<UInt64>(0)
    /// Packets that would have been sent, but that the client's sampling left out.
    package let packetsSampledOut = Atomic<UInt64>(0)
    /// Packets that would have been sent, but that were more than the feed's limit allows.
    package let packetsLimited = Atomic<UInt64>(0)
    /// Settled frames that were pieces of datagrams.
    package let fragments = Atomic<UInt64>(0)
    /// Pieces that came before their datagram's first and found no room to wait for it.
    package let fragmentsNotHeld = Atomic<UInt64>(0)
    /// Settled frames with a service address at one end that connection tracking does not know.
    package let framesUnexplained = Atomic<UInt64>(0)
    /// Packets put into the send queue.
    package let packetsQueued = Atomic<UInt64>(0)
    /// Frames whose addresses were translated, as connection tracking does.
    package let packetsTranslated = Atomic<UInt64>(0)
    /// Packets for which the send queue had no room: segments, where a frame has become more bytes
    /// than there was reason to keep free.
    package let packetsDroppedByQueue = Atomic<UInt64>(0)
    /// Super-frames that were cut, and the segments that they became.
    package let framesSegmented = Atomic<UInt64>(0)
    package let segments = Atomic<UInt64>(0)
    /// Frames that only lacked their checksum, and those whose VLAN tag was put back.
    package let checksumsFinished = Atomic<UInt64>(0)
    package let tagsRestored = Atomic<UInt64>(0)
    /// Frames sent as they were captured although something was left to do, by the raw value of
    /// `WireForm.Obstacle`.
    package let framesUnrepaired: [11 of Atomic<UInt64>] = [11 of Atomic<UInt64>] { _ in Atomic(0) }
    /// Bytes put into the send queue, headers included.
    package let bytesQueued = Atomic<UInt64>(0)
    /// Rings that another one has taken the place of, larger or smaller.
    package let ringsReplaced = Atomic<UInt64>(0)
    /// Edges whose program could not be replaced by one that knows more about services.
    package let programsNotReplaced = Atomic<UInt64>(0)
    /// Packets still in the queue when the capture ended, one of which begun among them, and their
    /// bytes, headers included.
    package let packetsAbandoned = Atomic<UInt64>(0)
    package let bytesAbandoned = Atomic<UInt64>(0)

    /// Datagrams that the kernel took. Whether they arrive nobody knows.
    package let datagramsSent = Atomic<UInt64>(0)
    /// Errors that came back for datagrams sent, as from a port where nobody listens. At least as
    /// many were lost: networks report few of them, and the kernel passes on only some of those.
    package let datagramsRefused = Atomic<UInt64>(0)
    /// Datagrams dropped because the kernel did not take them: no memory, no route, a firewall.
    package let datagramsFailed = Atomic<UInt64>(0)
    /// Datagrams dropped because the route's MTU had become smaller.
    package let datagramsTooLarge = Atomic<UInt64>(0)

    /// Flows that connection tracking was asked about.
    package let trackingQuestions = Atomic<UInt64>(0)
    /// Flows that it was not asked about, because there were too many within a second.
    package let trackingQuestionsNotAsked = Atomic<UInt64>(0)
    /// Questions that the kernel answered with an error.
    package let trackingFailures = Atomic<UInt64>(0)
    /// How often events of new flows were lost.
    package let trackingOverruns = Atomic<UInt64>(0)
    /// Flows forgotten because there were too many, and not because of their age.
    package let trackedFlowsEvicted = Atomic<UInt64>(0)

    package init(_ ledger: EdgeMetrics = EdgeMetrics()) { self.ledger = ledger }

    /// Adds to a count; nobody reads it as a signal, so no order is asked for.
    static func add(_ count: Int, to counter: borrowing Atomic<UInt64>) {
        if count > 0 { counter.add(UInt64(count), ordering: .relaxed) }
    }
}
