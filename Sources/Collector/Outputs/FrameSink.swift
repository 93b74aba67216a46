package import Linux
package import Time

/// The options of a sink that takes whole frames.
package protocol FrameSinkOptions: Sendable {
    /// Opens the sink, once, when the collector begins.
    ///
    /// - Throws: What keeps it from its work, which ends the collector.
    func open() throws(SystemError) -> any FrameSink
}

/// A sink that takes whole frames, such as an interface or a tunnel.
///
/// It never waits. What it cannot pass on at once it keeps in a queue with a bound of its own, and
/// what does not fit there it drops and counts. Its failures end nothing but itself.
package protocol FrameSink: AnyObject {
    /// Takes a packet, whose frame is lent for the call.
    ///
    /// - Parameters:
    ///   - frame: What was captured of it.
    ///   - wireByteCount: The length that it had on the wire.
    ///   - nanoseconds: When it was captured, since 1970.
    ///   - linkType: The form of the frame, as a number of capture files.
    func add(_ frame: RawSpan, wireByteCount: Int, nanoseconds: UInt64, linkType: UInt16)

    /// Passes on what has gathered; called each time that packets have been read, and each second.
    func flush(now: MonotonicTime)

    /// What to wait for; a descriptor of -1 for nothing.
    var request: (fileDescriptor: CInt, interest: Readiness) { get }

    /// Does what its descriptor is ready for.
    func serve(_ ready: Readiness, now: MonotonicTime)

    /// Takes what a person has to be told.
    func takeNews() -> [OutputNews]

    /// What became of the packets.
    var counts: OutputCounts { get }

    /// Passes on what it can without waiting, and gives back what it holds.
    func finish()
}
