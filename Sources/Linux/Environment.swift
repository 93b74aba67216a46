/// The names of the process's variables, as they were when it began; none without `/proc`.
package func environmentNames() -> [String] {
    let bytes = (try? readFile("/proc/self/environ", byteCountMax: environmentByteCountMax)) ?? []
    return bytes.split(separator: 0).map { entry in
        String(decoding: entry.prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self)
    }
}

/// The most that is read of an environment: what the kernel lets programs have by default.
private let environmentByteCountMax = 2 << 20
