package import Logging

/// A log handler above another one, which has its metadata and its level.
package protocol LayeredLogHandler: LogHandler {
    /// The handler underneath.
    var base: any LogHandler { get set }
}

extension LayeredLogHandler {
    /// The metadata of the handler underneath.
    package var metadata: Logger.Metadata {
        get { base.metadata }
        set { base.metadata = newValue }
    }

    /// The level of the handler underneath.
    package var logLevel: Logger.Level {
        get { base.logLevel }
        set { base.logLevel = newValue }
    }

    /// A value of the metadata.
    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { base[metadataKey: key] }
        set { base[metadataKey: key] = newValue }
    }
}
