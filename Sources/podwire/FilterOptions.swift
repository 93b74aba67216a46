import Addressing
import ArgumentParser
import Filter
import Formats
import Linux

/// A filter that an option, a file or the words of a command line have.
struct FilterOptions {
    /// The filter; nil for none.
    let expression: FilterExpression?

    /// Compiles the filter of `--filter` or `--filter-file`.
    ///
    /// - Parameters:
    ///   - text: The filter.
    ///   - path: The file with it.
    ///   - resolves: Whether names of hosts are looked up.
    /// - Throws: A `ValidationError` with the place of what is wrong.
    init(_ text: String?, file path: String?, resolves: Bool) throws {
        if let text {
            expression = try Self.expression(text, resolves: resolves)
        } else if let path {
            let bytes = try readInput(
                path, byteCountMax: FilterExpression.byteCountMax, "--filter-file",
                ofWords: "give the words themselves with --filter, or to podwire filter")
            let text = FilterExpression.text(ofFile: bytes)
            expression = try Self.expression(text, of: path, resolves: resolves)
        } else {
            expression = nil
        }
    }

    /// What may be wrong with a filter that no packet of a stream has matched.
    ///
    /// - Parameter text: The filter.
    /// - Returns: A sentence; nil if the filter names no hosts.
    static func hint(forUnmatched text: String) -> String? {
        let words = text.split { $0.isWhitespace || "()!,".contains($0) }.map(String.init)
        guard words.contains(where: { ["host", "net"].contains($0) || IPAddress($0) != nil })
        else { return nil }
        return """
            no packet matched the filter: calls to a service have the address and the port of the pod \
            that serves it, not the service's
            """
    }

    /// Compiles a text.
    ///
    /// - Parameters:
    ///   - text: The text.
    ///   - path: The file that has it; nil for none.
    ///   - resolves: Whether names of hosts are looked up.
    /// - Returns: The filter.
    /// - Throws: A `ValidationError` with the place of what is wrong.
    private static func expression(
        _ text: String, of path: String? = nil, resolves: Bool
    ) throws -> FilterExpression {
        do throws(FilterError) {
            guard resolves else { return try FilterExpression(text) }
            return try FilterExpression(text) { host in
                (try? Linux.resolve(host, port: 0))?.map(\.address) ?? []
            }
        } catch {
            let place = path.map { "\($0): " } ?? ""
            throw ValidationError("\(place)\(error.text(in: text))")
        }
    }
}

/// Reads a file, or standard input for `-`.
///
/// - Parameters:
///   - path: The file.
///   - byteCountMax: The most bytes that are read.
///   - option: The option that names it, for the message.
///   - advice: What to do with words that were given in place of a file; nil if nobody would give some.
/// - Returns: Its bytes.
/// - Throws: A `ValidationError` if it is longer, or if the path is words, and what the system refuses.
func readInput(
    _ path: String, byteCountMax: Int, _ option: String, ofWords advice: String? = nil
) throws -> [UInt8] {
    let descriptor: Descriptor
    do throws(SystemError) {
        descriptor =
            try path == "-"
            ? Descriptor(duplicatingStandardInput: ()) : Descriptor(reading: path)
    } catch {
        let isWord = !path.contains { $0 == "/" || $0 == "." }
        guard error.errno == .noSuchFileOrDirectory, let advice,
            isWord || path.contains(where: \.isWhitespace)
        else { throw error }
        throw ValidationError("\(option) takes a file, and none is named \"\(path)\": \(advice)")
    }
    var bytes: [UInt8] = []
    while try descriptor.read(64 << 10, to: &bytes, path) {
        guard bytes.count <= byteCountMax else {
            throw ValidationError("\(option) \(path): it is longer than \(byteCountMax) bytes")
        }
    }
    return bytes
}
