package import Frames
package import Logging

/// Everything a person can set about an agent, understood.
package struct Settings: Sendable {
    package let sensors: [SensorName]
    package let podNetworks: [Network]
    package let serviceNetworks: [Network]
    package let uncovered: [Network]
    /// The name under which the de-duplicated stream is offered.
    package let device: String
    /// Which edges are captured.
    package let edges: EdgeSelection
    package let deduplicates: Bool
    package let snaplen: Int
    /// All rings of one capture together.
    package let ringByteCountMax: Int
    /// The send queue of one capture.
    package let queueByteCountMax: Int
    package let logLevel: Logger.Level

    /// Reads options first, then the environment, then what counts without either.
    ///
    /// Variables of the replaced DaemonSet may be set to nothing, which counts as not set. An agent
    /// needs a sensor; who only looks at a node does not.
    package init(
        options: [Setting: String], needsSensor: Bool = true, environment: (String) -> String?
    ) throws(SettingFailure) {
        var reader = Reader(values: [:])
        for setting in Setting.allCases {
            if let text = options[setting] {
                reader.values[setting] = (text, true)
            } else if let text = environment(setting.variable), !text.isEmpty {
                reader.values[setting] = (text, false)
            } else if let text = setting.standard {
                reader.values[setting] = (text, false)
            }
        }
        podNetworks = try reader.list(.podNetworks, atLeastOne: true) { Network($0) }
        serviceNetworks = try reader.list(.serviceNetworks) { Network($0) }
        uncovered = try reader.list(.uncovered) { Network($0) }
        let port = try reader.one(.sensorPort) { text in UInt16(text).flatMap { $0 > 0 ? $0 : nil }
        }
        sensors = try reader.list(.sensors, atLeastOne: needsSensor) {
            SensorName($0, standardPort: port)
        }
        device = try reader.one(.device) { (1...255).contains($0.utf8.count) ? $0 : nil }
        edges = EdgeSelection(
            try reader.one(.edges) { EdgeSelection.Scope(rawValue: $0) }, podNetworks: podNetworks,
            included: try reader.list(.includedEdges, EdgeSelection.pattern),
            excluded: try reader.list(.excludedEdges, EdgeSelection.pattern))
        deduplicates = try reader.one(.deduplication) { ["on": true, "off": false][$0] }
        snaplen = try reader.one(.snaplen) { text in
            Int(text).flatMap { (64...262_144).contains($0) ? $0 : nil }
        }
        ringByteCountMax = try reader.one(.ringMemory, Self.byteCount)
        queueByteCountMax = try reader.one(.queueMemory, Self.byteCount)
        logLevel = try reader.one(.logLevel) { Logger.Level(rawValue: $0) }
    }

    /// Reads `"268435456"`, `"256MiB"`, `"256Mi"` or `"256M"`; one mebibyte to one tebibyte.
    static func byteCount(_ text: String) -> Int? {
        let digits = text.prefix { ("0"..."9").contains($0) }
        let units = ["": 0, "B": 0, "K": 10, "M": 20, "G": 30]
        var unit = text.dropFirst(digits.count).drop { $0 == " " }
        if unit.count > 1, unit.hasSuffix("B") { unit = unit.dropLast() }
        if unit.count > 1, unit.hasSuffix("i") { unit = unit.dropLast() }
        guard let number = Int(digits), let shift = units[String(unit)], number < 1 << 40 else {
            return nil
        }
        let byteCount = number.multipliedReportingOverflow(by: 1 << shift)
        guard !byteCount.overflow, (1 << 20...1 << 40).contains(byteCount.partialValue) else {
            return nil
        }
        return byteCount.partialValue
    }
}

/// A sensor as it was named: its address is asked for anew at each try.
package struct SensorName: Hashable, Sendable, CustomStringConvertible {
    package let host: String
    package let port: UInt16

    /// Reads `host`, `host:port`, an IPv6 address, or one in brackets with or without a port.
    package init?(_ text: String, standardPort: UInt16) {
        var host = Substring(text)
        var portText: Substring?
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            host = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            guard IPAddress(String(host))?.family == .ipv6, rest.isEmpty || rest.hasPrefix(":")
            else { return nil }
            portText = rest.isEmpty ? nil : rest.dropFirst()
        } else if IPAddress(text) == nil, let colon = text.firstIndex(of: ":") {
            host = text[..<colon]
            portText = text[text.index(after: colon)...]
        }
        guard !host.isEmpty, host.utf8.count <= 253,
            host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "/") })
        else { return nil }
        self.host = String(host)
        guard let portText else {
            port = standardPort
            return
        }
        guard let port = UInt16(portText), port > 0 else { return nil }
        self.port = port
    }

    package var description: String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}

/// The texts of all settings, and where each came from.
private struct Reader {
    var values: [Setting: (text: String, isOption: Bool)]

    func one<Value>(
        _ setting: Setting, _ read: (String) -> Value?
    ) throws(SettingFailure) -> Value {
        guard let (text, isOption) = values[setting] else {
            throw SettingFailure(setting: setting, value: nil, isOption: false)
        }
        guard let value = read(text) else {
            throw SettingFailure(setting: setting, value: text, isOption: isOption)
        }
        return value
    }

    func list<Value>(
        _ setting: Setting, atLeastOne: Bool = false, _ read: (String) -> Value?
    ) throws(SettingFailure) -> [Value] {
        var list: [Value] = []
        let (text, isOption) = values[setting] ?? ("", false)
        for part in text.split(whereSeparator: { $0 == "," || $0 == " " }) {
            guard let value = read(String(part)) else {
                throw SettingFailure(setting: setting, value: text, isOption: isOption)
            }
            list.append(value)
        }
        guard !list.isEmpty || !atLeastOne else {
            throw SettingFailure(setting: setting, value: nil, isOption: false)
        }
        return list
    }
}
