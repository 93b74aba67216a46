import Linux

/// The files of a series that `--keep` may delete: those that a run with `--keep` has begun.
///
/// Their names are in an index beside them, in the folder `.podwire`, so that the next run knows them.
/// A file that is not in the index is somebody else's, whatever its name is.
struct KeptFiles {
    private let options: RecordingOptions
    /// The numbers of the files, the oldest first; the last one is that of the current file.
    private(set) var numbers: [Int] = []

    /// The longest index: of as many files as may be kept, with the longest names.
    private static let byteCountMax = RecordingOptions.keptFileCounts.upperBound * 256

    /// Reads the index.
    ///
    /// Names of files that are not there do not count: their numbers may come again.
    ///
    /// - Parameters:
    ///   - options: The files.
    ///   - present: The numbers of those that are there.
    /// - Throws: The kernel's reason if there is an index that cannot be read.
    init(_ options: RecordingOptions, present: [Int]) throws(SystemError) {
        self.options = options
        let present = Set(present)
        do throws(SystemError) {
            let bytes = try readFile(options.indexPath, byteCountMax: Self.byteCountMax)
            numbers = Set(
                String(decoding: bytes, as: UTF8.self).split(separator: "\n")
                    .compactMap { options.number(ofFile: String($0)) }
            ).intersection(present).sorted()
        } catch {
            guard error.errno == .noSuchFileOrDirectory else { throw error }
        }
    }

    /// Whether a run has left an index.
    static func isThere(for options: RecordingOptions) -> Bool {
        (try? Descriptor(reading: options.indexPath, waits: false)) != nil
    }

    /// Adds a file that is about to be begun.
    ///
    /// It is in the index before it is there, so that it is known whatever happens.
    mutating func add(_ number: Int) throws(SystemError) {
        if numbers.last != number { numbers.append(number) }
        try write()
    }

    /// Writes the index.
    func write() throws(SystemError) {
        try makeFolder(options.indexFolder, mode: 0o700)
        let text = numbers.map { options.fileName(number: $0) + "\n" }.joined()
        try replaceFile(options.indexPath, with: Array(text.utf8))
    }

    /// Deletes the oldest files until there are fewer than a number.
    ///
    /// - Returns: Why the last of them that could not be deleted was not.
    mutating func makePlace(countMax: Int) -> SystemError? {
        var problem: SystemError?
        while numbers.count >= countMax {
            if let failure = remove(numbers.removeFirst()) { problem = failure }
        }
        return problem
    }

    /// Deletes the oldest file, but not the current one, which is the last.
    ///
    /// - Returns: The path of the file that was deleted; nil if there is none.
    mutating func removeOldest() -> String? {
        while numbers.count > 1 {
            let number = numbers.removeFirst()
            if remove(number) == nil { return options.path(number: number) }
        }
        return nil
    }

    /// Deletes a file.
    ///
    /// One that is gone already is no error.
    private func remove(_ number: Int) -> SystemError? {
        do throws(SystemError) {
            try removeFile(options.path(number: number))
            return nil
        } catch {
            return error.errno == .noSuchFileOrDirectory ? nil : error
        }
    }
}
