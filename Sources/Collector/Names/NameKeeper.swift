import Addressing
import CaptureFiles
import Linux
import RPCAP
import Time

/// The names that agents say, and the inventory's files.
///
/// It belongs to the collector's thread.
struct NameKeeper {
    private var table = NameTable()
    private let inventory: Inventory?
    /// The version of the table that is in the files.
    private var writtenVersion = -1
    private var nextWrite = MonotonicTime.zero
    private var nextExpiry = MonotonicTime.zero
    private var lastFailure: SystemError?

    /// The time between two looks for names whose agents are gone.
    private static let expiryInterval = Duration.seconds(10)

    /// Begins without names.
    init(_ inventory: Inventory?) { self.inventory = inventory }

    /// What was not believed, or not kept.
    var counts: NameTable.Counts { table.counts }

    /// Records what an agent says, and returns the names that are new.
    mutating func record(
        _ pods: [OfferedPod], of agent: String, _ owner: String, at peer: IPAddress,
        now: MonotonicTime
    ) -> [AddressName] {
        table.record(pods, of: agent, owner, at: peer, now: now, clock: wallClockNanoseconds())
            .map(\.addressName)
    }

    /// Ends old names, and writes the files if names have changed; to be called each second.
    ///
    /// - Returns: Why the files cannot be written, once for each reason.
    mutating func tick(now: MonotonicTime) -> SystemError? {
        if now >= nextExpiry {
            nextExpiry = now + Self.expiryInterval
            table.expire(now: now, clock: wallClockNanoseconds())
        }
        guard now >= nextWrite else { return nil }
        defer {
            // Writing takes little of the thread's time, however many names there are.
            let end = MonotonicTime.now
            nextWrite = end + max(Inventory.interval, (end - now) * Inventory.pauseFactor)
        }
        return write()
    }

    /// Writes the files if names have changed.
    ///
    /// - Returns: Why they cannot be written, once for each reason.
    mutating func write() -> SystemError? {
        guard let inventory, table.version != writtenVersion else { return nil }
        do throws(SystemError) {
            try inventory.write(table.all)
            (writtenVersion, lastFailure) = (table.version, nil)
            return nil
        } catch {
            defer { lastFailure = error }
            return error == lastFailure ? nil : error
        }
    }
}

extension NameTable.Entry {
    fileprivate var addressName: AddressName { AddressName(address, hostName) }
}
