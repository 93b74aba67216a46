import Taps

/// Where edges are captured: at the host's end of each pair, or inside the pods.
package struct TapSettings: Equatable, Sendable {
    /// Which end is captured.
    package let mode: Mode
    /// The folder with the files of pods' network namespaces.
    package let namespaceFolder: String
    /// The path of the socket at which the opener listens.
    package let opener: String

    /// Whether interfaces of pods that have no end in the node are captured as well.
    package let includesPodInterfaces: Bool

    /// Whether anything may be captured inside pods, so that the opener is needed.
    package var needsOpener: Bool { mode != .host || includesPodInterfaces }

    /// Which end of pods' pairs is captured.
    package enum Mode: String, CaseIterable, Sendable {
        /// The host's end.
        case host
        /// The pod's end, of every edge whose namespace file is found.
        case pod
        /// The host's end, until packets are proven to bypass it.
        case auto
    }

    /// Settings by their values.
    package init(
        _ mode: Mode = .host, namespaceFolder: String? = nil, opener: String? = nil,
        includesPodInterfaces: Bool = false
    ) {
        (self.mode, self.includesPodInterfaces) = (mode, includesPodInterfaces)
        self.namespaceFolder = namespaceFolder ?? NamespaceFolder.standardPath
        self.opener = opener ?? PodSocketClient.standardPath
    }

    init(_ reader: SettingsReader) throws(SettingFailure) {
        self.init(
            try reader.one(.tap) { Mode(rawValue: $0) },
            namespaceFolder: try reader.one(.namespaceFolder, Self.path),
            opener: try reader.one(.opener, Self.path),
            includesPodInterfaces: try reader.isOn(.podInterfaces))
    }

    private static func path(_ text: String) -> String? { text.hasPrefix("/") ? text : nil }
}
