import BPF
import Addressing

/// Step 4, as far as it is known. Most calls to services are reported at their backends' edges, so
/// what this drops is often half of all traffic.
extension EdgeProgramWriter {
    /// Where to go on with what the pod says to a service, and with what a service says to it.
    mutating func services(_ layout: PacketLayout) -> (call: Height, answer: Height) {
        let listed = services.filter { $0.key.address.family == layout.family }
        guard !listed.isEmpty else { return (settle, settle) }
        let known = search(listed, layout)
        let call = describe(
            layout, address: layout.destination, port: layout.transport + 2,
            clientPort: layout.transport, then: known)
        let passingCall = passes(atEgress: false, then: call)
        let answer = describe(
            layout, address: layout.source, port: layout.transport,
            clientPort: layout.transport + 2, then: known)
        return (passingCall, passes(atEgress: true, then: answer))
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
            let scratch =
                word < addressWordCount ? Scratch.serviceAddress + word : Scratch.service
            return Instruction(.loadScratch, scratch)
        }
    }

    /// Puts a packet's service end, and the client's port, into scratch memory; what may have no
    /// ports is left to user space.
    private mutating func describe(
        _ layout: PacketLayout, address: AddressSource, port: UInt32, clientPort: UInt32,
        then known: Height
    ) -> Height {
        code.goOn(to: known)
        store(Instruction(.loadHalf, clientPort), in: Scratch.clientPort, "the client's port")
        code.prepend(Instruction(.storeScratch, Scratch.service), "the service: protocol and port")
        code.prepend(Instruction(.or.withX), "both in one word")
        code.prepend(Instruction(.loadHalf, port), "the service's port")
        code.prepend(Instruction(.copyToX), "the service's protocol")
        let withPorts = code.prepend(
            Instruction(.shiftLeft, 16 - layout.protocolShift), "the service's protocol")
        transport(layout, withPorts: withPorts, else: settle)
        for word in 0..<layout.family.byteCount / 4 {
            store(
                address.load(word), in: Scratch.serviceAddress + UInt32(word),
                "the service's address, word \(word)")
        }
        return code.top
    }
}

extension ServiceKey {
    /// Protocol and port as one word.
    fileprivate var word: UInt32 { UInt32(transport) << 16 | UInt32(port) }
}
