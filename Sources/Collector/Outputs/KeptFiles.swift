import Linux

/// The files of a series that `--keep` may delete: those that a run with `--keep` has begun.
///
/// Their names are in an index beside them, in the folder `.podwire`, so that the next run knows them.
/// A file that is not in the index is somebody else's, whatever its name is. The index counts only in
/// a folder that nobody else may change, and one run at a time has it.
struct KeptFiles {
    private let options: RecordingOptions
    private let lock: Lock
    /// The numbers of the files, the oldest first; the last one is that of the current file.
    private(set) var numbers: [Int] = []

    /// The longest index: of as many files as may be kept, with the longest names.
    private static let byteCountMax = RecordingOptions.keptFileCounts.upperBound * 256

    /// The lock of the index, for as long as this is there.
    private final class Lock {
        private let file: Descriptor

        init(_ path: String) throws(SystemError) {
            do throws(SystemError) {
                file = try Descriptor.locking(path)
            } catch {
                guard error.errno == .wouldBlock else { throw error }
                throw SystemError(
                    "--keep: another podwire writes files of the same name and keeps as many: "
                        + "give this one another --output (\(path))", error.errno)
            }
        }
    }

    /// Locks and reads the index.
    ///
    /// Names of files that are not there do not count: their numbers may come again.
    ///
    /// - Parameters:
    ///   - options: The files.
    ///   - present: The numbers of those that are there.
    /// - Throws: If there is an index that cannot be read, others may change it, or another run has it.
    init(_ options: RecordingOptions, present: [Int]) throws(SystemError) {
        self.options = options
        try makeFolder(options.indexFolder, mode: 0o700)
        _ = try Descriptor.ownFolder(options.indexFolder)
        lock = try Lock(options.lockPath)
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

    /// Has an index that a run has left forget the files that are not there.
    ///
    /// Their numbers are going to be those of files that are not to go. An index that another run has,
    /// or that no run would believe, stays as it is.
    static func forgetAbsent(_ options: RecordingOptions, present: [Int]) throws(SystemError) {
        guard (try? Descriptor(reading: options.indexPath, waits: false)) != nil else { return }
        try (try? KeptFiles(options, present: present))?.write()
    }

    /// Adds a file that is about to be begun.
    ///
    /// It is in the index before it is there, so that it is known whatever happens.
    mutating func add(_ number: Int) throws(SystemError) {
        if numbers.last != number { numbers.append(number) }
        try write()
    }

    /// Forgets the file that was added last, as it was not begun; the next one that is added writes that.
    mutating func dropLast() { numbers.removeLast() }

    /// Writes the index.
    private func write() throws(SystemError) {
        try makeFolder(options.indexFolder, mode: 0o700)
        _ = try Descriptor.ownFolder(options.indexFolder)
        let text = numbers.map { options.fileName(number: $0) + "\n" }.joined()
        try replaceFile(options.indexPath, with: Array(text.utf8))
    }

    /// Deletes the oldest files until there are fewer than a number.
    ///
    /// One that cannot be deleted does not count, and is tried again the next time.
    ///
    /// - Returns: Why the last of them that could not be deleted was not.
    mutating func makePlace(countMax: Int) -> SystemError? {
        var problem: SystemError?
        var place = 0
        for _ in 0..<max(0, numbers.count - countMax + 1) {
            if let failure = remove(numbers[place]) {
                problem = failure
                place += 1
            } else {
                numbers.remove(at: place)
            }
        }
        numbers.removeFirst(max(0, numbers.count - RecordingOptions.keptFileCounts.upperBound))
        return problem
    }

    /// Deletes the oldest file, but not the current one, which is the last.
    ///
    /// - Returns: The path of the file that was deleted; nil if there is none.
    mutating func removeOldest() -> String? {
        for (place, number) in numbers.dropLast().enumerated() where remove(number) == nil {
            numbers.remove(at: place)
            return options.path(number: number)
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
