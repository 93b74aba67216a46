import COpenSSL

/// The settings that a server's or a client's connections share: an `SSL_CTX`.
///
/// One thread sets it up. From then on it is only read, which OpenSSL allows from many threads at
/// once.
@safe
final class TLSContext: Sendable {
    /// The address as a number, since pointers do not go from thread to thread.
    private let address: UInt

    enum Role: Sendable { case server, client }

    init(_ role: Role) throws(TLSFailure) {
        OpenSSLError.clear()
        // Safety: a method is a constant of the library, and the new context is ours to free.
        let method = unsafe role == .server ? TLS_server_method() : TLS_client_method()
        guard let context = unsafe SSL_CTX_new(method) else {
            throw .library(OpenSSLFailure("SSL_CTX_new"))
        }
        address = UInt(bitPattern: context)
        guard unsafe copenssl_set_version_min(context, TLS1_2_VERSION) == 1 else {
            throw .library(OpenSSLFailure("SSL_CTX_set_min_proto_version"))
        }
        // Connections are few and long, so none is resumed. Without tickets a server writes nothing
        // that its client has not asked for. A stream that ends without close_notify is no attack
        // that we could stop: RPCAP's own lengths show what was cut off.
        unsafe _ = SSL_CTX_set_options(
            context,
            copenssl_no_renegotiation | copenssl_no_ticket | copenssl_ignore_unexpected_eof)
        unsafe _ = SSL_CTX_set_num_tickets(context, 0)
        unsafe copenssl_keep_no_sessions(context)
        // A write that would wait is repeated from wherever the caller's bytes are by then.
        unsafe copenssl_set_mode(
            context,
            Int(
                SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                    | SSL_MODE_AUTO_RETRY))
        // An encrypted key is refused. By default OpenSSL would ask for its password at the terminal.
        unsafe SSL_CTX_set_default_passwd_cb(context) { _, _, _, _ in -1 }
    }

    deinit {
        // Safety: sessions hold references of their own.
        unsafe SSL_CTX_free(pointer)
    }

    /// The `SSL_CTX`.
    ///
    /// - Safety: valid as long as the context is.
    @unsafe var pointer: OpaquePointer {
        // Safety: the initializer has made sure that the address is not 0.
        unsafe OpaquePointer(bitPattern: address).unsafelyUnwrapped
    }
}

/// One end of a TLS connection: an `SSL`.
@safe
struct TLSSession: ~Copyable, Sendable {
    /// The address as a number, since pointers do not go from thread to thread.
    private let address: UInt
    private let socket: CInt

    /// Creates a session on a socket, which must stay open as long.
    ///
    /// The session sends to the socket at once, and receives nothing before `beginReceiving`.
    init(_ context: TLSContext, on socket: CInt) throws(TLSFailure) {
        OpenSSLError.clear()
        // Safety: the session keeps the context alive by a reference of its own.
        guard let session = unsafe SSL_new(context.pointer) else {
            throw .library(OpenSSLFailure("SSL_new"))
        }
        guard unsafe SSL_set_wfd(session, socket) == 1, let nothing = unsafe BIO_new(BIO_s_mem())
        else {
            unsafe SSL_free(session)
            throw .library(OpenSSLFailure("SSL_set_wfd"))
        }
        // Safety: the session takes it over. Empty memory says that nothing has come yet.
        unsafe SSL_set0_rbio(session, nothing)
        self.socket = socket
        address = UInt(bitPattern: session)
    }

    deinit {
        // Safety: nobody else has it. The socket stays open, since its owner closes it.
        unsafe SSL_free(pointer)
    }

    /// Receives from the socket from now on.
    func beginReceiving() throws(TLSFailure) {
        // Safety: the session is this value's own.
        guard unsafe SSL_set_rfd(pointer, socket) == 1 else {
            throw .library(OpenSSLFailure("SSL_set_rfd"))
        }
    }

    /// The `SSL`.
    ///
    /// - Safety: valid as long as the session is, and to be used by one thread at a time.
    @unsafe var pointer: OpaquePointer {
        // Safety: the initializer has made sure that the address is not 0.
        unsafe OpaquePointer(bitPattern: address).unsafelyUnwrapped
    }
}
