import BPF
import Frames

/// Step 4, as far as it is known. Most calls to services are reported at their backends' edges, so
/// what this drops is often half of all traffic.
extension EdgeProgramWriter {
    /// Scratch words: the service's address in up to four, protocol and port in one, and the
    /// client's port. Word 0 is taken.
    private enum Scratch {
        static let address: UInt32 = 1
        static let service: UInt32 = 5
        static let clientPort: UInt32 = 6
    }

    mutating func services(_ layout: PacketLayout, else next: Height) -> Height {
        let networks = rule.surroundings.serviceNetworks.of(layout.family)
        guard !networks.isEmpty else { return next }
        var (call, answer) = (settle, settle)
        let listed = services.filter { $0.key.address.family == layout.family }
        if !listed.isEmpty {
            let known = search(listed, layout)
            call = describe(
                layout, address: layout.destination, port: layout.transport + 2,
                clientPort: layout.transport, then: known)
            call = passes(atEgress: false, then: call)
            answer = describe(
                layout, address: layout.source, port: layout.transport,
                clientPort: layout.transport + 2, then: known)
            answer = passes(atEgress: true, then: answer)
        }
        let next = code.isInside(
            networks, at: layout.source, then: answer, else: next,
            "source in services'")
        return code.isInside(
            networks, at: layout.destination, then: call, else: next,
            "destination in services'")
    }

    /// A service is called from the pod, and answers to it. Anything else is for user space.
    private mutating func passes(atEgress: Bool, then next: Height) -> Height {
        code.jump(
            .jumpIfEqual, Ancillary.outgoing, then: atEgress ? next : settle,
            else: atEgress ? settle : next, "egress?")
        return code.prepend(
            Instruction(.loadWord, Ancillary.packetTypeOffset), "the packet's direction")
    }

    /// Looks a service up that has been put into scratch memory.
    private mutating func search(
        _ listed: [(key: ServiceKey, value: UInt16)], _ layout: PacketLayout
    ) -> Height {
        let addressWordCount = UInt32(layout.family.byteCount / 4)
        let entries = listed.map { service, port in
            code.jump(
                .jumpIfGreater, UInt32(port), then: drop, else: settle,
                "port \(service.port): is the client's above?")
            let height = code.prepend(
                Instruction(.loadScratch, Scratch.clientPort), "the client's port")
            return (words: service.address.words + [service.word], height: height)
        }
        return code.search(entries[...], else: settle, "known service") { word in
            let word = UInt32(word)
            let scratch = word < addressWordCount ? Scratch.address + word : Scratch.service
            return Instruction(.loadScratch, scratch)
        }
    }

    /// Puts a packet's service end, and the client's port, into scratch memory; what may have no
    /// ports is left to user space.
    private mutating func describe(
        _ layout: PacketLayout, address: UInt32, port: UInt32, clientPort: UInt32,
        then known: Height
    ) -> Height {
        code.goOn(to: known)
        store(.loadHalf, clientPort, in: Scratch.clientPort, "the client's port")
        code.prepend(Instruction(.storeScratch, Scratch.service), "the service: protocol and port")
        code.prepend(Instruction(.or.withX), "both in one word")
        code.prepend(Instruction(.loadHalf, port), "the service's port")
        code.prepend(Instruction(.copyToX), "the service's protocol")
        let withPorts = code.prepend(Instruction(.shiftLeft, 16), "the service's protocol")
        var next = settle
        for number in IPProtocol.withPorts {
            next = code.jump(
                .jumpIfEqual, UInt32(number), then: withPorts, else: next, "has ports?")
        }
        code.prepend(Instruction(.loadByte, layout.protocolNumber), "protocol")
        for word in 0..<UInt32(layout.family.byteCount / 4) {
            store(
                .loadWord, address + 4 * word, in: Scratch.address + word,
                "the service's address, word \(word)")
        }
        return readable(layout)
    }

    private mutating func store(
        _ load: Opcode, _ offset: UInt32, in scratch: UInt32, _ note: String
    ) {
        code.prepend(Instruction(.storeScratch, scratch), note)
        code.prepend(Instruction(load, offset), note)
    }
}

extension ServiceKey {
    /// Protocol and port as one word.
    fileprivate var word: UInt32 { UInt32(transport) << 16 | UInt32(port) }
}
