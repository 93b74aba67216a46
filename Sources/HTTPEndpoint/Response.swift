import NIOCore
import NIOHTTP1

/// What is answered to a request.
package struct Response: Sendable {
    package let status: Status
    package let contentType: String
    /// Shared by all who are sent it.
    let body: ByteBuffer
    let headers: [(name: String, value: String)]

    package enum Status: UInt, Sendable {
        case ok = 200
        case badRequest = 400
        case notFound = 404
        case methodNotAllowed = 405
        case requestTimeout = 408
        case contentTooLarge = 413
        case headersTooLarge = 431
        case unavailable = 503

        var wireForm: HTTPResponseStatus { HTTPResponseStatus(statusCode: Int(rawValue)) }
    }

    package init(
        _ text: String, _ status: Status = .ok, contentType: String = Self.plainText,
        headers: [(name: String, value: String)] = []
    ) {
        self.status = status
        self.contentType = contentType
        self.headers = headers
        body = ByteBuffer(string: text)
    }

    /// Who answers, as the header `server` has it (RFC 9110, 10.2.4).
    package static let server = "podwire"
    package static let plainText = "text/plain; charset=utf-8"
    package static let json = "application/json"

    package var text: String { String(buffer: body) }

    /// The first part of the answer, with the length of the body that goes with it.
    func head(_ version: HTTPVersion, isLast: Bool) -> HTTPResponseHead {
        var fields: HTTPHeaders = [
            "content-type": contentType, "content-length": "\(body.readableBytes)",
            "cache-control": "no-store", "x-content-type-options": "nosniff",
            "server": Self.server,
        ]
        for (name, value) in headers { fields.add(name: name, value: value) }
        if isLast {
            fields.add(name: "connection", value: "close")
        } else if version == .http1_0 {
            fields.add(name: "connection", value: "keep-alive")
        }
        return HTTPResponseHead(version: version, status: status.wireForm, headers: fields)
    }
}
