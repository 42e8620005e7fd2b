"""The public port's TLS: a context, made anew when its certificate's file changes."""

import ssl
from pathlib import Path

from service.errors import StartError
from service.files import Renewed


class Tls:
    """`context` is for new connections; those that stand keep what they began with."""

    def __init__(self, cert: Path, key: Path, handshake_s: float = 30.0) -> None:
        """
        Args:
            cert: chain, PEM.
            key: its private key, PEM.
            handshake_s: how long a handshake may take.

        Raises:
            StartError: the files do not do.
        """
        self.handshake_s = handshake_s
        self._cert, self._key = cert, key
        self._files = Renewed(self._load, cert, key)
        problem = self._load()
        if problem is not None:
            raise StartError(problem)

    def renew(self) -> str | None:
        """Read the files again if they changed, as cert-manager changes them; what is wrong with them, once."""
        return self._files.renew()

    def _load(self) -> str | None:
        # A new one each time: a context keeps a certificate of each kind of key, and loses the key to one without.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._cert, self._key)
        except ssl.SSLError as error:
            return f"tls_cert_file and tls_key_file: not a certificate and its key ({error.reason or 'unreadable'})"
        except OSError as error:
            return f"tls_cert_file and tls_key_file: {error.strerror or 'unreadable'}"
        self.context = context
        return None
