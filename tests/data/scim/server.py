"""scim2-server behind TLS and a bearer token, which can be told to misbehave.

usage: server.py PORT CERTIFICATE KEY TOKEN CONTROL
Before each request the file CONTROL is read; when it holds a word and a number, the number is counted down:
  throttle N   the next N requests are answered 429 with Retry-After: 0
  lose N       the next N requests that change something are carried out, and their answer is lost
  fail N       the next N requests are answered 503
  flood N      the next N requests are answered with JSON that does not end
"""

import itertools
import ssl
import sys
import threading
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, make_server

from scim2_models import ScimProvider
from scim2_server.memory import InMemoryStorage
from scim2_server.service import ScimService
from scim2_server.testserver.application import BearerTokenApplication
from scim2_server.testserver.cli import ThreadingWSGIServer
from scim2_server.utils import (
    load_default_resource_types,
    load_default_schemas,
    load_default_service_provider_config,
)

port, certificate, key, token, control = sys.argv[1:]
lock = threading.Lock()


def told(environ):
    """What to do with this request, counted down."""
    changes = environ["REQUEST_METHOD"] not in ("GET", "HEAD")
    with lock, open(control, "r+") as file:
        word, _, number = file.read().strip().partition(" ")
        if not number or int(number) <= 0 or (word == "lose" and not changes):
            return ""
        file.seek(0)
        file.truncate()
        file.write(f"{word} {int(number) - 1}")
        return word


class LostAnswer(Exception):
    pass


def misbehaving(application):
    def call(environ, start_response):
        word = told(environ)
        if word == "throttle":
            start_response("429 Too Many Requests", [("Retry-After", "0")])
            return [b""]
        if word == "fail":
            start_response("503 Service Unavailable", [])
            return [b""]
        if word == "flood":
            start_response("200 OK", [("Content-Type", "application/scim+json")])
            return itertools.chain([b'{"Resources": ['], itertools.repeat(b" " * (1 << 20)))
        if word == "lose":
            for _ in application(environ, lambda *_: None):
                pass
            raise LostAnswer
        return application(environ, start_response)

    return call


class Server(ThreadingWSGIServer):
    def finish_request(self, request, client_address):
        # The handshake belongs to the connection's thread.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        try:
            request = context.wrap_socket(request, server_side=True)
        except (ssl.SSLError, OSError):
            return
        super().finish_request(request, client_address)
        try:
            request.close()
        except OSError:
            pass

    def handle_error(self, *_):
        pass


class Wire(ServerHandler):
    """Closes the connection where an answer is lost, instead of telling an error."""

    def handle_error(self):
        self.close()


class Handler(WSGIRequestHandler):
    def log_message(self, *_):
        pass

    def handle(self):
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            return
        handler = Wire(self.rfile, self.wfile, self.get_stderr(), self.get_environ(), multithread=True)
        handler.request_handler = self
        handler.run(self.server.get_app())


provider = ScimProvider.from_discovery(
    load_default_schemas().values(),
    load_default_resource_types().values(),
    config=load_default_service_provider_config(),
)
application = BearerTokenApplication(
    InMemoryStorage(), provider, service=ScimService(provider, secret="secret"), bearer_tokens=[token]
)
make_server("127.0.0.1", int(port), misbehaving(application), server_class=Server, handler_class=Handler).serve_forever()
