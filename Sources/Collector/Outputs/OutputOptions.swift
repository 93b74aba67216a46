/// Where packets go: a recording, or other outputs, or both.
package struct OutputOptions: Sendable {
    /// The files; nil for none.
    package var recording: RecordingOptions?
    /// The stream of packets over TCP.
    package var feed = FeedOptions()
    /// The sinks that take frames, in the order in which they are reported.
    package var frameSinks: [any FrameSinkOptions] = []

    /// Whether and how conversations are counted; nil for not.
    package var flows: FlowOptions?
    /// The packets that are wanted in all; nil for no bound.
    package var packetCountMax: UInt64?
    /// The time for which packets wait for earlier ones of other agents; nil for none.
    package var orderWindow: Duration? = TimeOrder.standardWindow

    /// Options of a collector that writes files, or none.
    package init(recording: RecordingOptions? = nil) { self.recording = recording }
}
