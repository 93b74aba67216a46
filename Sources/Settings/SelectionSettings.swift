package import Filter
import Formats

/// The settings that have an agent send less than all that the rule reports.
package struct SelectionSettings: Sendable {
    /// The filter that every packet has to pass; nil for none, or if it is in a file.
    package let filter: FilterExpression?
    /// The file with the filter; nil for none.
    package let filterFile: String?
    /// One of how many flows is sent; nil for all.
    package let flowSampleCount: UInt32?
    /// The bytes of payload of a flow's direction after which payload is left out; nil for no limit.
    package let cutoffByteCount: Int?

    init(_ reader: SettingsReader) throws(SettingFailure) {
        filter = try Self.filter(reader)
        filterFile = try reader.oneOrNone(.filterFile) { $0 }
        guard filter == nil || filterFile == nil else {
            throw reader.failure(
                .filterFile,
                "there is a filter in \(Setting.filter.option) already: give one of them")
        }
        flowSampleCount = try reader.one(.flowSample, Self.flowSample)
        cutoffByteCount = try reader.one(.cutoff, Self.cutoff)
    }

    /// The filter, wherever it is; nil for none.
    ///
    /// - Returns: The filter; a file is read now.
    /// - Throws: What is wrong with the file.
    package func readFilter() throws(FilterFile.Failure) -> FilterExpression? {
        guard let filterFile else { return filter }
        return try FilterFile.read(filterFile)
    }

    private static func filter(
        _ reader: SettingsReader
    ) throws(SettingFailure) -> FilterExpression? {
        guard let text = try reader.oneOrNone(.filter, { $0 }) else { return nil }
        do throws(FilterError) {
            return try FilterExpression(text)
        } catch {
            throw reader.failure(.filter, error.line(in: text))
        }
    }

    /// Reads `"1/10"`, or `"off"` for all flows.
    private static func flowSample(_ text: String) -> UInt32?? {
        if text == "off" { return .some(nil) }
        guard text.hasPrefix("1/"), text.dropFirst(2).allSatisfy(\.isNumber),
            let count = UInt32(text.dropFirst(2)), count >= 2
        else { return nil }
        return .some(count)
    }

    /// Reads an amount of at least a kibibyte, or `"off"`.
    private static func cutoff(_ text: String) -> Int?? {
        if text == "off" { return .some(nil) }
        guard let count = ByteCount(text), (1 << 10...1 << 40).contains(count.value) else {
            return nil
        }
        return .some(Int(count.value))
    }
}
