import CaptureFiles
import Edges
import Explain
import Linux

/// A capture file, and where on this node it was recorded, as far as its user or a first look tells.
struct ExplainedFile {
    let path: String
    /// The edge where all of it was recorded; nil if each packet's MAC addresses tell.
    private(set) var edge: Edge?
    /// How the edge is known.
    private(set) var source = Source.user
    private let edgeNames: Set<String>

    /// Whether the user has said where the file was recorded.
    var hasNamedEdge: Bool { edge != nil && source == .user }

    /// What says at which edge a file was recorded.
    enum Source {
        /// `--edge`.
        case user
        /// The name of the file's one interface, as podwire writes it.
        case interface
        /// The MAC addresses of all its packets.
        case addresses
    }

    /// Looks at a file.
    ///
    /// A file that can be read twice is read to its end, so that the edge is known before the first packet
    /// is explained. What is damaged is told when it is explained.
    ///
    /// - Parameters:
    ///   - path: The file, or `"-"` for standard input.
    ///   - edge: The edge that the user has named; nil if none.
    ///   - edges: The edges of this node.
    /// - Throws: What the kernel refuses.
    init(_ path: String, at edge: Edge?, of edges: [Edge]) throws(SystemError) {
        (self.path, self.edge) = (path, edge)
        edgeNames = Set(edges.map(\.name))
        guard edge == nil, path != "-", (try? FileStamp(of: path))?.isRegularFile == true else {
            return
        }
        var reader = try CaptureReader(path: path)
        var inference = EdgeInference(edges)
        while !inference.isVain || reader.isPodwires, let frame = try? reader.next() {
            inference.add(frame.bytes)
        }
        let names = Set(reader.interfaceNames.map(Self.device))
        if reader.isPodwires, names.count == 1,
            let named = edges.first(where: { names == [$0.name] })
        {
            (self.edge, source) = (named, .interface)
        } else if let inferred = inference.edge {
            (self.edge, source) = (inferred, .addresses)
        }
    }

    /// Why there is nothing to explain in a file that has been read; nil if there is.
    func refusal(of reader: borrowing CaptureReader) -> String? {
        guard !hasNamedEdge, reader.isPodwires,
            !reader.interfaceNames.allSatisfy({ edgeNames.contains(Self.device($0)) })
        else { return nil }
        return """
            the file is podwire's: it has what agents report, and not what passed an edge of this \
            node, so there is nothing to explain. Record at an edge, with tcpdump -i VETH; --edge \
            names the edge if the file is of one nevertheless
            """
    }

    /// The device in the name that podwire gives to an interface, `"DEVICE@HOST"`.
    private static func device(_ interface: String) -> String {
        String(interface.prefix { $0 != "@" })
    }
}

extension CaptureReader {
    /// Whether podwire has written the file, as far as it has been read.
    var isPodwires: Bool { application.hasPrefix("podwire") }
}
