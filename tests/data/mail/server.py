"""A mail server (aiosmtpd) that takes mail after STARTTLS and sign-in alone, and keeps each message in a file.

server.py PORT CERTIFICATE KEY USER PASSWORD FOLDER
"""
import pathlib
import signal
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

port, certificate, key, user, password, folder = sys.argv[1:]
folder = pathlib.Path(folder)


class Keep:
    async def handle_DATA(self, server, session, envelope):
        number = len(list(folder.glob("*.mail")))
        to = ", ".join(envelope.rcpt_tos)
        part = folder / f"{number:04}.part"
        part.write_bytes(f"X-Envelope: {envelope.mail_from} -> {to}\r\n".encode() + envelope.content)
        part.rename(folder / f"{number:04}.mail")
        return "250 kept"


def authenticate(server, session, envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (user.encode(), password.encode())
    return AuthResult(success=right, handled=False)


class Secured(Controller):
    def factory(self):
        return SMTP(self.handler, tls_context=context, require_starttls=True, auth_required=True, authenticator=authenticate)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
Secured(Keep(), hostname="127.0.0.1", port=int(port)).start()
signal.sigwait([signal.SIGTERM])
