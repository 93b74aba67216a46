/// The side that dialled the control connection.
///
/// The roles are the same from the first byte on: the agent serves. A few details differ.
package enum SessionMode: Sendable {
    /// The agent dialled.
    case active
    /// The client dialled.
    case passive
}
