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
                path, byteCountMax: FilterExpression.byteCountMax, "--filter-file")
            let text = FilterExpression.text(ofFile: bytes)
            expression = try Self.expression(text, of: path, resolves: resolves)
        } else {
            expression = nil
        }
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
/// - Returns: Its bytes.
/// - Throws: A `ValidationError` if it is longer, and what the system refuses.
func readInput(_ path: String, byteCountMax: Int, _ option: String) throws -> [UInt8] {
    let descriptor =
        try path == "-"
        ? Descriptor(duplicatingStandardInput: ()) : Descriptor(reading: path)
    var bytes: [UInt8] = []
    while try descriptor.read(64 << 10, to: &bytes, path) {
        guard bytes.count <= byteCountMax else {
            throw ValidationError("\(option) \(path): it is longer than \(byteCountMax) bytes")
        }
    }
    return bytes
}
