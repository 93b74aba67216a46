package import Filter
import Linux

/// A file with a filter.
package enum FilterFile {
    /// The reason for which a file's filter cannot be used.
    package struct Failure: Error, Equatable, CustomStringConvertible {
        package let description: String
    }

    /// Reads a file, and compiles what is in it.
    package static func read(_ path: String) throws(Failure) -> FilterExpression {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try readFile(path, byteCountMax: FilterExpression.byteCountMax)
        } catch {
            throw Failure(description: "\(Setting.filterFile.option): \(error)")
        }
        do throws(FilterError) {
            return try FilterExpression(file: bytes)
        } catch {
            let text = FilterExpression.text(ofFile: bytes)
            throw Failure(description: "\(path): \(error.line(in: text))")
        }
    }
}
