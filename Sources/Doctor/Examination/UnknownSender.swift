package import Addressing
import Formats

/// A source of frames from a pod that a running agent knows as nobody's.
package struct UnknownSender: Equatable, Sendable {
    /// The name of the pod's edge.
    package let edge: String
    /// The address.
    package let address: IPAddress

    /// A sender by its parts.
    package init(edge: String, address: IPAddress) { (self.edge, self.address) = (edge, address) }

    /// Reads the senders from an agent's page of edges (`/edges`).
    ///
    /// The page is an array of objects that podwire itself writes (`Node.json`): an object has its
    /// interface first, and no text in it has a quotation mark.
    package static func read(_ page: String) -> [Self] {
        page.split(separator: "{").flatMap { object -> [Self] in
            guard let edge = texts(of: "interface", in: object).first else { return [] }
            return texts(of: "senders", in: object).compactMap { text in
                IPAddress(text).map { Self(edge: edge, address: $0) }
            }
        }
    }

    /// The texts of a member: one, or those of an array.
    private static func texts(of name: String, in object: Substring) -> [String] {
        guard let start = object.range(of: "\"\(name)\":") else { return [] }
        let value = object[start...].drop { $0 == " " }
        let list =
            value.first == "[" ? value.dropFirst().prefix { $0 != "]" } : value.prefix { $0 != "," }
        return list.split(separator: ",").map { part in
            String(part.filter { $0 != "\"" && $0 != " " })
        }
    }
}

extension Substring {
    /// The index behind the first occurrence of a text.
    fileprivate func range(of text: String) -> Index? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}
