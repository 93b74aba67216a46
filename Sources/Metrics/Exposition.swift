/// A page of metrics in Prometheus's text format, version 0.0.4.
///
/// Each family comes once, with its help, its kind and its samples. Each set of labels comes once in
/// it; otherwise a scraper would refuse the whole page.
package struct Exposition {
    package private(set) var text = ""
    private var names: Set<String> = []

    /// The media type of such a page.
    package static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// The metrics of one name.
    package struct Family: Hashable, Sendable {
        package let name: String
        package let kind: Kind
        /// A sentence, with the unit if there is one.
        package let help: String
        /// The names of the labels that each sample has.
        package let labels: [String]

        package init(_ name: String, _ kind: Kind, _ help: String, labels: [String] = []) {
            (self.name, self.kind, self.help, self.labels) = (name, kind, help, labels)
        }
    }

    /// The type of a metric.
    package enum Kind: String, Sendable {
        /// It only grows while the program runs.
        case counter
        /// A number that goes up and down.
        case gauge
    }

    /// One number of a family, with the values of its labels.
    package struct Sample: Sendable {
        /// In the order of the family's labels.
        ///
        /// Values may be any text.
        package let labels: [String]
        fileprivate let value: String

        package init(_ labels: [String], _ value: some BinaryInteger) {
            (self.labels, self.value) = (labels, "\(value)")
        }

        package init(_ value: some BinaryInteger) { self.init([], value) }

        /// Creates a sample with a part of a unit, which is finite.
        package init(_ value: Double) { (labels, self.value) = ([], "\(value)") }

        /// Creates a sample with the value 1 for true, and 0 for false.
        package init(_ labels: [String] = [], isTrue: Bool) {
            self.init(labels, isTrue ? 1 : 0)
        }
    }

    package init() {}

    /// Adds a family.
    ///
    /// The first of several samples with the same labels counts.
    package mutating func add(_ family: Family, _ samples: [Sample]) {
        precondition(names.insert(family.name).inserted, "\(family.name) is there already")
        text += "# HELP \(family.name) \(Self.escaped(family.help))\n"
        text += "# TYPE \(family.name) \(family.kind.rawValue)\n"
        // Bytes are compared, as scrapers do: Swift takes canonically equivalent strings for equal.
        var seen: Set<[UInt8]> = []
        for sample in samples {
            precondition(sample.labels.count == family.labels.count, "labels of \(family.name)")
            let labels = Self.text(Array(zip(family.labels, sample.labels)))
            guard seen.insert(Array(labels.utf8)).inserted else { continue }
            text += "\(family.name)\(labels) \(sample.value)\n"
        }
    }

    private static func text(_ labels: [(name: String, value: String)]) -> String {
        guard !labels.isEmpty else { return "" }
        let pairs = labels.map { "\($0.name)=\"\(escaped($0.value, isQuoted: true))\"" }
        return "{\(pairs.joined(separator: ","))}"
    }

    /// The text with a backslash before characters that would end the line or the quotation.
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
