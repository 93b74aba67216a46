package import CaptureFiles
import Linux

/// The files of a recording: where they go, and when a new one begins.
package struct RecordingOptions: Sendable {
    /// The file's name, or `"-"` for standard output.
    package private(set) var path: String
    /// The size that no packet takes a file beyond; nil for none.
    package var fileByteCountMax: UInt64?
    /// The age at which the next file begins, at most a second late; nil for none.
    package var fileTimeMax: Duration?
    /// The most files that are kept, including the current one; nil for all.
    package var keptFileCountMax: Int?
    /// Whether each link type has files of its own.
    package var splitsLinkTypes = false
    /// The program that writes the files, as they name it.
    package var application = "podwire collect"
    /// The filter that agents are asked for; nil for none.
    package var filter: CaptureFilter?

    /// The format of its files.
    package let encoder: any CaptureEncoder

    /// The numbers of files that can be kept.
    package static let keptFileCounts = 2...10_000

    package init(path: String, encoder: any CaptureEncoder = PcapngEncoder()) {
        (self.path, self.encoder) = (path, encoder)
    }

    /// Checks that the folder of the files is there, which nobody makes.
    func checkFolder() throws(SystemError) {
        let folder = parts.folder
        guard !folder.isEmpty, isAbsent(folder) else { return }
        throw SystemError(
            "--output: make the folder first (mkdir -p \(folder.dropLast()))",
            .noSuchFileOrDirectory)
    }

    /// Creates a file.
    ///
    /// - Throws: `EEXIST` if there is one of that number: it is somebody else's.
    func file(number: Int) throws(SystemError) -> CaptureFile {
        try CaptureFile(
            path: path(number: number), encoder: encoder, application: application,
            mustBeNew: rotates)
    }

    /// Whether there is more than one file.
    package var rotates: Bool { fileByteCountMax != nil || fileTimeMax != nil }

    /// Whether a file is as old as files become.
    func isDue(age: Duration) -> Bool { fileTimeMax.map { age >= $0 } ?? false }

    /// The path of a file: `"pods.pcapng"`, or `"pods-00001.pcapng"` if there are more.
    package func path(number: Int) -> String {
        rotates ? parts.folder + fileName(number: number) : path
    }

    /// The name of a file of several in its folder.
    func fileName(number: Int) -> String {
        let digits = "\(number)"
        let zeros = String(repeating: "0", count: max(0, Self.digitCountMin - digits.count))
        return parts.name + "-" + zeros + digits + parts.ending
    }

    /// The folder of the index of files that may be deleted; its name is hidden, since some programs
    /// read whatever is beside the files.
    var indexFolder: String { parts.folder + ".podwire" }

    /// The path of that index.
    package var indexPath: String { "\(indexFolder)/\(parts.name)\(parts.ending).keep" }

    /// The path of the file that a run locks which changes the index; the index itself is replaced.
    package var lockPath: String { "\(indexFolder)/\(parts.name)\(parts.ending).lock" }

    /// The options for the files of a link type: `"pods-EN10MB.pcapng"`.
    func split(for linkType: String) -> Self {
        var options = self
        options.path = parts.folder + parts.name + "-" + linkType + parts.ending
        return options
    }

    private static let digitCountMin = 5
    /// A file with a longer number is not from a recording.
    private static let digitCountMax = 9

    /// The parts of the path before the number and behind it.
    private var parts: (folder: String, name: String, ending: String) {
        let name = path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex
        let dot = path[name...].lastIndex(of: ".").flatMap { $0 > name ? $0 : nil }
        let end = dot ?? path.endIndex
        return (String(path[..<name]), String(path[name..<end]), String(path[end...]))
    }

    /// The numbers of files that are there already, in order; none if files have no numbers.
    func numbersPresent() throws(SystemError) -> [Int] {
        guard rotates else { return [] }
        let folder = parts.folder
        return try fileNames(in: folder.isEmpty ? "." : folder)
            .compactMap { number(ofFile: $0) }.sorted()
    }

    /// The number of a file by its name; nil if it is none of these files.
    func number(ofFile file: String) -> Int? {
        let (_, name, ending) = parts
        let prefix = name + "-"
        guard file.hasPrefix(prefix), file.hasSuffix(ending),
            file.utf8.count >= prefix.utf8.count + ending.utf8.count
        else { return nil }
        let digits = file.dropFirst(prefix.count).dropLast(ending.count)
        guard (Self.digitCountMin...Self.digitCountMax).contains(digits.utf8.count),
            digits.utf8.allSatisfy({ (0x30...0x39).contains($0) })
        else { return nil }
        return Int(digits)
    }
}
