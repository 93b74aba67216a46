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
    ///   - reads: Whether the file is read, and names are looked up now.
    /// - Throws: A `ValidationError` with the place of what is wrong.
    init(_ text: String?, file path: String?, resolves: Bool, reads: Bool) throws {
        if let text {
            expression = try Self.expression(text, "filter", resolves: resolves, reads: reads)
        } else if let path, reads {
            let bytes = try readInput(
                path, byteCountMax: FilterExpression.byteCountMax, "--filter-file")
            let text = FilterExpression.text(ofFile: bytes)
            expression = try Self.expression(
                text, "--filter-file \(path)", resolves: resolves, reads: true)
        } else {
            expression = nil
        }
    }

    /// Compiles a text.
    ///
    /// - Parameters:
    ///   - text: The text.
    ///   - name: What the text is, for the message.
    ///   - resolves: Whether names of hosts are looked up.
    ///   - reads: Whether they are looked up now; if not, any name will do.
    /// - Returns: The filter.
    /// - Throws: A `ValidationError` with the place of what is wrong.
    private static func expression(
        _ text: String, _ name: String, resolves: Bool, reads: Bool
    ) throws -> FilterExpression {
        do throws(FilterError) {
            guard resolves else { return try FilterExpression(text) }
            return try FilterExpression(text) { host in
                guard reads else { return [IPAddress(ipv4: 0x7f00_0001)] }
                return (try? Linux.resolve(host, port: 0))?.map(\.address) ?? []
            }
        } catch {
            throw ValidationError("\(name): \(error.text(in: text))")
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
