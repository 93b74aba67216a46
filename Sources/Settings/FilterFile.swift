package import Filter
import Linux

/// A file with a filter.
package enum FilterFile {
    /// The reason for which a file's filter cannot be used.
    package enum Failure: Error, Equatable, CustomStringConvertible {
        /// The file cannot be read, which may pass.
        case unreadable(String)
        /// What is in the file is no filter.
        case wrong(String)

        package var description: String {
            switch self {
            case .unreadable(let reason), .wrong(let reason): reason
            }
        }
    }

    /// Reads a file, and compiles what is in it.
    ///
    /// An empty one is refused: it is probably about to be written, and would let every packet pass.
    package static func read(_ path: String) throws(Failure) -> FilterExpression {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try readFile(path, byteCountMax: FilterExpression.byteCountMax)
        } catch {
            throw .unreadable("\(Setting.filterFile.option): \(error)")
        }
        let filter: FilterExpression
        do throws(FilterError) {
            filter = try FilterExpression(file: bytes)
        } catch {
            let text = FilterExpression.text(ofFile: bytes)
            throw .wrong("\(path): \(error.line(in: text))")
        }
        guard filter.text.contains(where: { !$0.isWhitespace }) else {
            throw .wrong("\(path): there is no filter in it; 'len >= 0' lets every packet pass")
        }
        return filter
    }
}
