"""Serve: the resident engine's state, speed and queue, how programs ask it, who may, and its limits."""

from core.errors import UserError
from core.serve import client
from pages import engine, frame, parts, serve_access, serve_live, serve_snippets, serve_start

SHOWS = "One address for the base model, every adapter, merge and mix, in OpenAI's API: for programs, other tools and the playground."

frame.enter()
found = engine.find()
if found is None:
    parts.head("Serve", f"No engine runs. {SHOWS}")
    serve_start.show()
else:
    try:
        health, offers = client.health(found), client.models(found)
    except UserError as error:
        serve_live.silent(found, error)
        serve_live.log()
        serve_live.end(found)
    else:
        serve_live.show(found)
        serve_snippets.show(found, health, offers)
        serve_access.show(health)
        serve_live.end(found, health)
