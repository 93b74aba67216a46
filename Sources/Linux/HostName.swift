/// The name of this host, as the kernel has it (/proc/sys/kernel/hostname); empty if it cannot be told.
///
/// In a pod with the node's network it is the node's name.
package func hostName() -> String {
    let bytes = (try? readFile("/proc/sys/kernel/hostname", byteCountMax: 256)) ?? []
    return String(decoding: bytes.prefix { $0 > 0x20 }, as: UTF8.self)
}
