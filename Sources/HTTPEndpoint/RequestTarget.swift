/// What a request asks for: a path, and perhaps a query (RFC 9112, 3.2.1).
package struct RequestTarget: Equatable, Sendable {
    /// The path, such as `/readyz`.
    package let path: String
    private let query: Substring

    /// Splits the target of a request line.
    package init(_ text: String) {
        let parts = text.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = String(parts[0])
        query = parts.count > 1 ? parts[1] : ""
    }

    /// The value of a parameter of the query as it is written, of several the first one; nil without any.
    package func value(of name: String) -> String? {
        for parameter in query.split(separator: "&") {
            let parts = parameter.split(
                separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts[0] == name { return parts.count > 1 ? String(parts[1]) : "" }
        }
        return nil
    }
}
