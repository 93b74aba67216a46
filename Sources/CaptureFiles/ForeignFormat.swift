/// Formats that are not read, by the first four bytes of a file, and what to do with such a file.
enum ForeignFormat {
    /// The text for a little-endian number at the beginning of a file; nil if it says nothing.
    static func advice(for magic: UInt32) -> String? {
        switch magic {
        case 0xa1b2_cd34, 0x34cd_b2a1:
            """
            a modified pcap file (Kuznetzov's), which is not read: convert it with \
            editcap -F pcapng OLD NEW
            """
        case 0xfd2f_b528: compressed("zstd")
        case 0x184d_2204: compressed("lz4")
        case 0x587a_37fd: compressed("xz")
        case _ where magic & 0xff_ffff == 0x68_5a42: compressed("bzip2")
        default: nil
        }
    }

    private static func compressed(_ program: String) -> String {
        """
        compressed with \(program), which is not read: decompress it, as with \
        \(program) -dc FILE | podwire explain --file -
        """
    }
}
