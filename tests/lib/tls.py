"""Certificates for tests, and upstreams behind them."""
import socket
import ssl
import subprocess
import threading


def certificate(folder, name="cert", *, names="IP:127.0.0.1,DNS:localhost", days=2):
    """A self-signed certificate (days=-1: it has expired); the paths of its PEM and its key."""
    cert, key, asked, extra = (folder / f"{name}.{end}" for end in ("pem", "key", "csr", "ext"))
    extra.write_text(f"subjectAltName={names}\nbasicConstraints=critical,CA:TRUE\n")
    for command in (["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-subj",
                     f"/CN={name}", "-out", asked],
                    ["x509", "-req", "-in", asked, "-signkey", key, "-days", str(days), "-extfile", extra, "-out", cert]):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return cert, key


class TlsFront:
    """Takes TLS off and hands the bytes on to a port of this machine, one connection after the other."""

    def __init__(self, cert, key, port):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.to, self.socket = port, socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def accept(self):
        while True:
            try:
                raw, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(raw,), daemon=True).start()

    def serve(self, raw):
        try:
            with self.context.wrap_socket(raw, server_side=True) as client, socket.create_connection(("127.0.0.1", self.to)) as server:
                back = threading.Thread(target=self.pipe, args=(server, client), daemon=True)
                back.start()
                self.pipe(client, server)
                back.join()
        except OSError:
            raw.close()  # the client does not like the certificate

    @staticmethod
    def pipe(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            try:
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass
