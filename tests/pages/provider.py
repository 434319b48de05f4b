"""An OpenID Connect provider of the tests: it asks nobody anything, and signs an identity token for who it was told."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Form
from fastapi.responses import RedirectResponse
from joserfc import jwt
from joserfc.jwk import RSAKey


@contextmanager
def provider(client_id: str, person: dict[str, Any]) -> Iterator[str]:
    """Within: the provider's address. `person`: claims, which may be changed."""
    listening = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(_app(address, client_id, person), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield address
    server.should_exit = True
    thread.join()


def _app(address: str, client_id: str, person: dict[str, Any]) -> FastAPI:
    app, key, nonces = FastAPI(), RSAKey.generate_key(2048, {"kid": "one", "alg": "RS256", "use": "sig"}), {}

    @app.get("/.well-known/openid-configuration")
    def metadata() -> dict[str, Any]:
        return {
            **{"issuer": address, "jwks_uri": f"{address}/keys", "id_token_signing_alg_values_supported": ["RS256"]},
            **{"authorization_endpoint": f"{address}/authorize", "token_endpoint": f"{address}/token"},
        }

    @app.get("/keys")
    def keys() -> dict[str, Any]:
        return {"keys": [key.as_dict(private=False)]}

    @app.get("/authorize")
    def authorize(redirect_uri: str, state: str, nonce: str = "") -> RedirectResponse:
        nonces["code"] = nonce
        return RedirectResponse(f"{redirect_uri}?code=code&state={state}")

    @app.post("/token")
    def token(code: str = Form()) -> dict[str, Any]:
        claims = {"iss": address, "aud": client_id, "sub": "1", "iat": 1_700_000_000, "exp": 4_000_000_000, "nonce": nonces[code], **person}
        signed = jwt.encode({"alg": "RS256", "kid": "one"}, claims, key)
        return {"access_token": "access", "token_type": "Bearer", "id_token": signed}

    return app
