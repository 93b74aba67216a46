import Linux
import Observation
import PacketRing
import Packets
import Time

/// The packets of a capture in the form that some of its sessions want, beside the first form.
///
/// The pipeline writes the first form. Where sessions differ each further form has a view, which
/// filters, samples and writes by itself. It belongs to the forwarder's thread.
final class CaptureView {
    let form: ViewForm
    let filter: PacketFilter
    var writer: PacketWriter
    /// What has been written of the block at hand.
    var stage: ByteQueue
    /// What is counted of it.
    var ledger = Ledger()

    init(
        _ form: ViewForm, bytesPerSecondMax: Int?, restoresWireForm: Bool, stageByteCount: Int
    ) throws(SystemError) {
        self.form = form
        filter = PacketFilter(program: form.filter, snaplen: form.frameByteCountMax)
        writer = try PacketWriter(
            form.sampling, bytesPerSecondMax: bytesPerSecondMax, restoresWireForm: restoresWireForm)
        stage = try ByteQueue(byteCountMax: stageByteCount)
    }

    /// Writes a packet that the rule reports, if the filter and the sampling let it pass.
    ///
    /// - Parameters:
    ///   - packet: The packet.
    ///   - translation: The change into the form in which it is reported.
    ///   - index: The interface of its edge.
    ///   - isFiltered: Whether the kernel has shown it to the filter.
    ///   - tally: Counts the edge's frames.
    func append(
        _ packet: borrowing Packet, _ translation: Translation?, at index: UInt32,
        isFiltered: Bool, of tally: EdgeTally
    ) {
        var counts = BlockCounts()
        if isFiltered {
            writer.append(packet, filter.limitInKernel, to: &stage, &counts)
        } else {
            writer.append(packet, translation, filter, at: index, to: &stage, &counts)
        }
        ledger.add(counts, of: tally)
    }

    /// Forgets what the outlets have taken.
    func clear() {
        stage.removeLast(stage.byteCount)
        ledger.clear()
    }
}
