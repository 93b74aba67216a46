package import Linux
import Logging
import Time

/// The options of an interface on which all packets appear.
package struct InterfaceSinkOptions: FrameSinkOptions {
    /// The interface's name.
    package let name: String

    /// An interface of a name that `TapDevice.fault` finds nothing wrong with.
    package init(name: String) { self.name = name }

    package func open() throws(SystemError) -> any FrameSink {
        InterfaceSink(try TapDevice(named: name))
    }
}

/// An interface that the collector makes, on which programs of this node see all packets.
///
/// The kernel takes a frame with each call and hands it to those that capture there, so nothing waits
/// here. If the interface is deleted it is made again, but programs that captured there have to begin
/// again.
final class InterfaceSink: FrameSink {
    private let name: String
    private var device: Tap?
    private var state = State.working
    private var news: [OutputNews] = []
    private var packetCount: UInt64 = 0
    private var byteCount: UInt64 = 0
    private var refusals = FrameRefusals()
    private var offCount: UInt64 = 0
    private var deletedCount: UInt64 = 0
    private var otherCount: UInt64 = 0

    private enum State: Equatable {
        case working
        /// Somebody has switched the interface off.
        case off
        /// Somebody has deleted the interface; it is tried again after this time.
        case deleted(until: MonotonicTime)
    }

    /// The time between two tries to make an interface again that was deleted.
    private static let pause = Duration.seconds(2)

    init(_ device: consuming TapDevice) {
        name = device.name
        self.device = Tap(device)
    }

    func add(_ frame: RawSpan, wireByteCount: Int, nanoseconds: UInt64, linkType: UInt16) {
        if refusals.refuse(
            frame, linkType: linkType, byteCountMax: TapDevice.frameByteCounts.upperBound)
        {
            return
        }
        guard let device else {
            deletedCount &+= 1
            return
        }
        switch device.device.write(frame) {
        case nil:
            packetCount &+= 1
            byteCount &+= UInt64(frame.byteCount)
            if state != .working { turn(.working, "interface on again", [:]) }
        case .inputOutput:
            offCount &+= 1
            if state != .off {
                turn(.off, "interface off", ["remedy": "ip link set \(name) up"])
            }
        case .badDescriptorState, .noSuchDevice:
            deletedCount &+= 1
            self.device = nil
            turn(.deleted(until: .zero), "interface deleted", [:])
        case let errno?:
            // Memory that is short for a moment, most likely.
            otherCount &+= 1
            if otherCount == 1 { tell("interface refuses packets", ["reason": "\(errno)"]) }
        }
    }

    func flush(now: MonotonicTime) {
        guard case .deleted(let end) = state, now >= end else { return }
        do throws(SystemError) {
            device = Tap(try TapDevice(named: name))
            turn(.working, "interface made again", [:])
        } catch {
            if end == .zero { tell("interface not made again", ["reason": "\(error)"]) }
            state = .deleted(until: now + Self.pause)
        }
    }

    private func turn(_ state: State, _ text: String, _ values: Logger.Metadata) {
        self.state = state
        tell(text, values)
    }

    /// The most news that wait to be taken, which is after each turn of the collector.
    private static let newsCountMax = 16

    private func tell(_ text: String, _ values: Logger.Metadata) {
        guard news.count < Self.newsCountMax else { return }
        let values = values.merging(["interface": "\(name)"]) { $1 }
        news.append(OutputNews(text, values, isWarning: state != .working || otherCount > 0))
    }

    var request: (fileDescriptor: CInt, interest: Readiness) { (-1, []) }

    func serve(_ ready: Readiness, now: MonotonicTime) {}

    func takeNews() -> [OutputNews] {
        defer { news = [] }
        return news
    }

    var counts: OutputCounts {
        var counts = OutputCounts(kind: "interface", place: name)
        (counts.packetCount, counts.byteCount) = (packetCount, byteCount)
        refusals.add(to: &counts)
        counts.addLoss("interface off", offCount)
        counts.addLoss("interface deleted", deletedCount)
        counts.addLoss("refused by the kernel", otherCount)
        return counts
    }

    func finish() { device = nil }
}

/// A device that goes when nobody has it any more.
private final class Tap {
    let device: TapDevice

    init(_ device: consuming TapDevice) { self.device = device }
}
