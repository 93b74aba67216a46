import NIOCore
import NIOHTTP1

/// A response to a request.
package struct Response: Sendable {
    /// The status.
    package let status: Status
    /// The media type of the body.
    package let contentType: String
    /// The body, whose memory is shared by all that it is sent to.
    let body: ByteBuffer
    let headers: [(name: String, value: String)]

    /// The statuses that are used (RFC 9110, 15).
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

    /// A response with a text as its body.
    package init(
        _ text: String, _ status: Status = .ok, contentType: String = Self.plainText,
        headers: [(name: String, value: String)] = []
    ) {
        self.status = status
        self.contentType = contentType
        self.headers = headers
        body = ByteBuffer(string: text)
    }

    /// The value of the header `server` (RFC 9110, 10.2.4).
    package static let server = "podwire"
    /// The media type of plain text.
    package static let plainText = "text/plain; charset=utf-8"
    /// The media type of JSON.
    package static let json = "application/json"

    /// The body as text.
    package var text: String { String(buffer: body) }

    /// The head of the response, with the length of the body.
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
