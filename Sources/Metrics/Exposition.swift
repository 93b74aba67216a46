/// A page of metrics in Prometheus's text format, version 0.0.4: for each family its help, its kind and
/// then its samples.
///
/// Each family comes once, and each set of labels once in it, or a scraper would take nothing of the
/// page.
package struct Exposition {
    package private(set) var text = ""
    private var names: Set<String> = []

    /// What a page of this kind says that it is.
    package static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// Metrics of one name.
    package struct Family: Hashable, Sendable {
        package let name: String
        package let kind: Kind
        /// A sentence with the unit, if there is one.
        package let help: String

        package init(_ name: String, _ kind: Kind, _ help: String) {
            (self.name, self.kind, self.help) = (name, kind, help)
        }
    }

    package enum Kind: String, Sendable {
        /// Only grows while the program runs.
        case counter
        case gauge
    }

    /// A label of a sample: names are written as they are, values may be any text.
    package struct Label: Hashable, Sendable {
        package let name: String
        package let value: String

        package init(_ name: String, _ value: String) {
            (self.name, self.value) = (name, value)
        }
    }

    /// One figure.
    package struct Sample: Sendable {
        package let labels: [Label]
        fileprivate let value: String

        package init(_ labels: [Label], _ value: some BinaryInteger) {
            (self.labels, self.value) = (labels, "\(value)")
        }

        package init(_ value: some BinaryInteger) { self.init([], value) }

        /// 1 for what is so, and 0 for what is not.
        package init(_ labels: [Label] = [], isTrue: Bool) {
            self.init(labels, isTrue ? 1 : 0)
        }
    }

    package init() {}

    /// Adds a family. Of samples with the same labels the first counts.
    package mutating func add(_ family: Family, _ samples: [Sample]) {
        precondition(names.insert(family.name).inserted, "\(family.name) is there already")
        text += "# HELP \(family.name) \(Self.escaped(family.help))\n"
        text += "# TYPE \(family.name) \(family.kind.rawValue)\n"
        // Compared byte by byte, as scrapers do: strings that Unicode takes for the same are not.
        var seen: Set<[UInt8]> = []
        for sample in samples {
            let labels = Self.text(of: sample.labels)
            guard seen.insert(Array(labels.utf8)).inserted else { continue }
            text += "\(family.name)\(labels) \(sample.value)\n"
        }
    }

    private static func text(of labels: [Label]) -> String {
        guard !labels.isEmpty else { return "" }
        let pairs = labels.map { "\($0.name)=\"\(escaped($0.value, isQuoted: true))\"" }
        return "{\(pairs.joined(separator: ","))}"
    }

    /// With a backslash before what would end a line, or a quoted text.
    private static func escaped(_ text: String, isQuoted: Bool = false) -> String {
        guard text.utf8.contains(where: { "\\\"\n".utf8.contains($0) }) else { return text }
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            case "\"" where isQuoted: escaped += "\\\""
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
