package import BPF

extension ServerSession {
    /// The logins that can succeed.
    package struct Logins: OptionSet, Sendable {
        package let rawValue: Int
        package init(rawValue: Int) { self.rawValue = rawValue }

        package static let null = Self(rawValue: 1)
        package static let password = Self(rawValue: 2)
    }

    /// A step that the driver has to take.
    package enum Action: Equatable, Sendable {
        case send([UInt8])
        /// Check a password; then call `passwordChecked`.
        case checkPassword(user: [UInt8], password: [UInt8])
        /// List the devices; then call `devicesListed`.
        case listDevices
        /// Find out whether a device of this name can be captured from; then call `deviceOpened` or
        /// `deviceRefused`.
        case open(String)
        /// Open the data connection, or listen for it, and capture; then call `captureStarted` or
        /// `captureRefused`.
        case startCapture(StartRequest)
        /// Put a filter into force; then call `filterUpdated` or `filterRefused`.
        case updateFilter([Instruction])
        /// Sample the running capture like this from now on.
        case sample(Sampling)
        /// Read the counters; then call `report`.
        case reportStatistics
        /// Stop the capture and close the data connection; then call `captureEnded`.
        case endCapture
        /// Something that a person may want to read, and what the peer has said about it.
        case note(String, said: String? = nil)
        /// Close the connection; a running capture ends with it. No action follows.
        case close(String)
    }
}
