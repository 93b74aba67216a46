import RPCAP

/// The reply of a server session to each message in each of its states.
enum StateTable {
    /// Messages after which the connection goes on in active mode, whatever the table says: as
    /// ExtraHop's daemon does, and libpcap's does not.
    private static let toleratedInActiveMode: Set = ["login", "packet", "reply", "unknown type"]

    /// Whether the connection goes on after a message in a state.
    static func goesOn(
        after message: String, _ goesOn: Bool, in mode: ServerSession.Mode
    ) -> Bool { goesOn || mode == .active && toleratedInActiveMode.contains(message) }

    /// The first four bytes of each reply, and whether the connection goes on in passive mode.
    ///
    /// An empty reply is silence.
    static let rows:
        [(message: String, bytes: [UInt8], rows: [String: (reply: String, goesOn: Bool)])] = [
            (
                "login", Request.login,
                [
                    "A": ("00 88 00 00", true), "R": ("00 01 00 10", false),
                    "O": ("00 01 00 10", false), "C": ("00 01 00 10", false),
                ]
            ),
            (
                "list", Request.list,
                [
                    "A": ("00 01 00 10", true), "R": ("00 82 00 01", true),
                    "O": ("00 82 00 01", true), "C": ("00 82 00 01", true),
                ]
            ),
            (
                "open", Request.open,
                [
                    "A": ("00 01 00 10", true), "R": ("00 83 00 00", true),
                    "O": ("00 83 00 00", true), "C": ("00 83 00 00", true),
                ]
            ),
            (
                "start", Request.start,
                [
                    "A": ("00 01 00 10", true), "R": ("00 01 00 0c", true),
                    "O": ("00 84 00 00", true), "C": ("00 01 00 0c", true),
                ]
            ),
            (
                "update", Request.update,
                [
                    "A": ("00 01 00 10", true), "R": ("00 01 00 07", true),
                    "O": ("00 01 00 07", true), "C": ("00 85 00 00", true),
                ]
            ),
            (
                "sampling", Request.sampling,
                [
                    "A": ("00 01 00 10", true), "R": ("00 8b 00 00", true),
                    "O": ("00 8b 00 00", true), "C": ("00 8b 00 00", true),
                ]
            ),
            (
                "statistics", Request.statistics,
                [
                    "A": ("00 01 00 10", true), "R": ("00 89 00 00", true),
                    "O": ("00 89 00 00", true), "C": ("00 89 00 00", true),
                ]
            ),
            (
                "end", Request.end,
                [
                    "A": ("00 01 00 10", true), "R": ("00 01 00 0d", true),
                    "O": ("00 01 00 0d", true), "C": ("00 8a 00 00", true),
                ]
            ),
            (
                "close", Request.close,
                ["A": ("", false), "R": ("", false), "O": ("", false), "C": ("", false)]
            ),
            (
                "error", Request.error,
                ["A": ("", false), "R": ("", true), "O": ("", true), "C": ("", true)]
            ),
            (
                "packet", Request.packet,
                [
                    "A": ("00 01 00 10", true), "R": ("00 01 00 10", false),
                    "O": ("00 01 00 10", false), "C": ("00 01 00 10", false),
                ]
            ),
            (
                "reply", Request.reply,
                [
                    "A": ("00 01 00 10", true), "R": ("00 01 00 10", false),
                    "O": ("00 01 00 10", false), "C": ("00 01 00 10", false),
                ]
            ),
            (
                "unknown type", Request.unknown,
                [
                    "A": ("00 01 00 10", true), "R": ("00 01 00 10", false),
                    "O": ("00 01 00 10", false), "C": ("00 01 00 10", false),
                ]
            ),
            (
                "another version", Request.versioned,
                [
                    "A": ("01 01 00 11", false), "R": ("01 01 00 11", false),
                    "O": ("01 01 00 11", false), "C": ("01 01 00 11", false),
                ]
            ),
        ]

    static let malformed:
        [(name: String, bytes: [UInt8], state: String, reply: String, goesOn: Bool)] = [
            (
                "a login of 3 bytes", hex("00 08 00 00 00 00 00 03 00 00 00"), "A", "00 01 00 03",
                true
            ),
            (
                "a login whose name is longer than it",
                hex("00 08 00 00 00 00 00 08 00 00 00 00 00 09 00 00"), "A", "00 01 00 03", true
            ),
            (
                "a password", hex("00 08 00 00 00 00 00 0a 00 01 00 00 00 01 00 01 61 62"), "A",
                "00 01 00 12", true
            ),
            (
                "another kind of login", hex("00 08 00 00 00 00 00 08 00 07 00 00 00 00 00 00"),
                "A", "00 01 00 14", true
            ),
            ("an empty name", hex("00 03 00 00 00 00 00 00"), "R", "00 01 00 06", true),
            ("an unknown device", hex("00 03 00 00 00 00 00 01 78"), "R", "00 01 00 06", true),
            (
                "a name cut by a zero byte", hex("00 03 00 00 00 00 00 04 6c 6f 00 78"), "R",
                "00 01 00 06", true
            ),
            (
                "a start of 4 bytes", hex("00 04 00 00 00 00 00 04 00 00 00 00"), "O",
                "00 01 00 0c", true
            ),
            (
                "a filter of another kind",
                hex(
                    "00 04 00 00 00 00 00 1c 00 00 ff ff 00 00 01 f4 00 04 9b 41 00 02 00 00 00 00 00 01 00 06 00 00 00 00 ff ff"
                ), "O", "00 01 00 0c", true
            ),
            (
                "a filter without instructions",
                hex("00 05 00 00 00 00 00 08 00 01 00 00 00 00 00 00"), "C", "00 01 00 07", true
            ),
            (
                "a filter shorter than it says",
                hex("00 05 00 00 00 00 00 08 00 01 00 00 00 00 00 05"), "C", "00 01 00 07", true
            ),
            (
                "a filter of 4 billion instructions",
                hex("00 05 00 00 00 00 00 08 00 01 00 00 ff ff ff ff"), "C", "00 01 00 07", true
            ),
            ("sampling of 2 bytes", hex("00 0b 00 00 00 00 00 02 01 00"), "R", "00 01 00 0f", true),
            (
                "an end with more behind it", hex("00 0a 00 00 00 00 00 03 01 02 03"), "C",
                "00 8a 00 00", true
            ),
            ("2 GiB announced", hex("00 02 00 00 7f ff ff ff"), "R", "00 01 00 10", false),
            ("4 GiB announced", hex("00 02 00 00 ff ff ff ff"), "A", "00 01 00 10", false),
            ("a TLS hello", hex("16 03 01 02 00 01 00 01 fc 03 03"), "A", "15 03 01 00", false),
            ("a TLS hello later on", hex("16 03 01 02 00 01 00 01"), "R", "16 01 00 11", false),
            (
                "a name with :// in it", hex("00 03 00 00 00 00 00 09") + Array("rpcap://h".utf8),
                "R",
                "00 01 00 06", true
            ),
            (
                "a name of 1,025 bytes",
                hex("00 03 00 00 00 00 04 01") + [UInt8](repeating: 0x61, count: 1025), "R",
                "00 01 00 06", true
            ),
            (
                "a filter of 8,193 instructions",
                hex("00 05 00 00 00 01 00 10 00 01 00 00 00 00 20 01")
                    + [UInt8](repeating: 0, count: 65_544), "C", "00 01 00 07", true
            ),
            (
                "a list request with half a megabyte behind it",
                hex("00 02 00 00 00 08 00 00") + [UInt8](repeating: 0xff, count: 0x80000), "R",
                "00 82 00 01", true
            ),
        ]
}
