import Linux

/// When a device of an agent is captured, in whichever of its sessions.
///
/// While an agent takes over from another one of its node, the device has two sessions, each with counters of
/// its own. It is missing only when none of them captures.
final class DevicePresence {
    /// The device and its host, without a number.
    let name: String
    let linkType: UInt16
    /// The sets of counters that a session captures for.
    private var count = 0
    /// When the last session ended, in nanoseconds since 1970; nil while none has, or one captures.
    private var pauseStart: UInt64?

    init(name: String, linkType: UInt16) { (self.name, self.linkType) = (name, linkType) }

    /// Records that counters have a session now.
    ///
    /// - Returns: The pause that ends with it, in nanoseconds since 1970; nil if there was none.
    func begin() -> (from: UInt64, to: UInt64)? {
        count += 1
        defer { pauseStart = nil }
        return pauseStart.map { ($0, wallClockNanoseconds()) }
    }

    /// Records that counters have no session any more.
    func end() {
        count -= 1
        if count == 0 { pauseStart = wallClockNanoseconds() }
    }
}
