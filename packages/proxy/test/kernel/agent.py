"""Clients and servers of one namespace: reads one JSON command per line, answers one JSON line each."""
import errno, json, selectors, socket, struct, sys, threading, time

RESET = struct.pack("ii", 1, 0)
sockets, hammers = {}, {}


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def plain(address):
    return address[7:] if address.startswith("::ffff:") else address


def serve(name, proto, port):
    kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
    s = socket.socket(socket.AF_INET6, kind)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("::", port))
    if proto == "tcp":
        s.listen(4096)
        threading.Thread(target=serve_tcp, args=(name, s), daemon=True).start()
    else:
        # The answer must leave from the address that was asked, also on a host with several.
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        threading.Thread(target=serve_udp, args=(name, s), daemon=True).start()


def serve_tcp(name, listener):
    select = selectors.DefaultSelector()
    select.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in select.select():
            if key.fileobj is listener:
                conn, peer = listener.accept()
                conn.sendall(("%s %s\n" % (name, plain(peer[0]))).encode())
                select.register(conn, selectors.EVENT_READ)
                continue
            try:
                data = key.fileobj.recv(4096)
                if data:
                    key.fileobj.sendall(data)
                    continue
            except OSError:
                pass
            select.unregister(key.fileobj)
            key.fileobj.close()


def serve_udp(name, s):
    while True:
        _, ancillary, _, peer = s.recvmsg(2048, 256)
        keep = [a for a in ancillary if a[1] == socket.IPV6_PKTINFO]
        s.sendmsg([("%s %s\n" % (name, plain(peer[0]))).encode()], [(l, t, d[:16] + b"\0\0\0\0") for l, t, d in keep], 0, peer)


def outcome(error):
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "timeout"
    return {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "refused", errno.EHOSTUNREACH: "unreachable"}.get(
        error.errno, str(error))


def open_socket(c):
    kind = socket.SOCK_STREAM if c.get("proto", "tcp") == "tcp" else socket.SOCK_DGRAM
    s = socket.socket(family(c["dst"]), kind)
    if c.get("src"):
        s.bind((c["src"], 0))
    s.settimeout(c.get("timeout", 1.0))
    s.connect((c["dst"], c["port"]))
    return s


def ask(c):
    s = None
    try:
        s = open_socket(c)
        if c.get("proto", "tcp") == "udp":
            s.send(b"?")
        return s.recv(256).decode().strip()
    except OSError as error:
        return outcome(error)
    finally:
        if s is not None:
            if c.get("proto", "tcp") == "tcp":
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            s.close()


class Hammer(threading.Thread):
    def __init__(self, c):
        super().__init__(daemon=True)
        self.c, self.running, self.answers = c, True, {}
        self.start()

    def run(self):
        while self.running:
            answer = ask(self.c)
            self.answers[answer] = self.answers.get(answer, 0) + 1
            time.sleep(self.c.get("pause", 0))

    def stop(self):
        self.running = False
        self.join()
        return self.answers


def handle(c):
    op = c["op"]
    if op == "serve":
        return serve(c["name"], c["proto"], c["port"])
    if op == "ask":
        return [ask(c) for _ in range(c.get("count", 1))]
    if op == "open":
        s = sockets[c["id"]] = open_socket(c)
        return s.recv(256).decode().strip() if c.get("proto", "tcp") == "tcp" else None
    if op == "talk":
        s = sockets[c["id"]]
        try:
            s.send(b"?\n")
            return s.recv(256).decode().strip()
        except OSError as error:
            return outcome(error)
    if op == "peer":
        return sockets[c["id"]].getpeername()[0]
    if op == "close":
        return sockets.pop(c["id"]).close()
    if op == "hammer":
        hammers[c["id"]] = Hammer(c)
        return None
    if op == "stop":
        return hammers.pop(c["id"]).stop()
    raise ValueError(op)


def main():
    for line in sys.stdin:
        try:
            answer = {"ok": handle(json.loads(line))}
        except Exception as error:
            answer = {"error": "%s: %s" % (type(error).__name__, error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()
