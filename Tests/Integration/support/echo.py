"""A server for calls: a program that echoes what it gets, for tests to start in a namespace."""

# Over TCP and UDP, and over both families, at a port. With a name, it answers "answer NAME to" and what
# follows the first five characters.
SERVER = r"""
import socket, sys, threading
port, names = int(sys.argv[1]), sys.argv[2:]
def answer_to(data):
    return f"answer {names[0]} to {data.decode()[5:]}".encode() if names else data
def talk(connection):
    while data := connection.recv(65536):
        connection.sendall(answer_to(data))
    connection.close()
def stream(server):
    while True:
        threading.Thread(target=talk, args=(server.accept()[0],), daemon=True).start()
server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
threading.Thread(target=stream, args=(server,), daemon=True).start()
for family, own in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
    s = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((own, port))
    def datagrams(s=s):
        while True:
            data, peer = s.recvfrom(65536)
            s.sendto(answer_to(data), peer)
    threading.Thread(target=datagrams, daemon=True).start()
print("ready", file=sys.stderr, flush=True)
threading.Event().wait()
"""
